//! The RDB format: reading every version up to 12, writing version 10.
