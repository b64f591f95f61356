//! Listeners, shards and client connections: everything around a request.

pub mod strict;
