//! Configuration: one row per directive, read once into a typed struct.
