//! Objects to table.
