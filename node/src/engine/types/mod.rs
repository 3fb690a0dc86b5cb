//! The value types' data structures.
