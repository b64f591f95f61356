//! The client side: what sits between the listening sockets and hyper.

pub mod strict;
