//! The declarative command table, and one file per family of commands.
