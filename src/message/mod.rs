//! What a request or a response says besides its body, whatever version of HTTP it came by.

mod buffers;
mod fields;
mod request;
mod response;

pub use crate::http1::{Name, fold};
pub use buffers::{Buffers, FIRST_READ};
pub use fields::{Field, Fields, Value};
pub use request::Request;
pub use response::Response;
