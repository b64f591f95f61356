//! What a route does besides forwarding: behaviour, one file per policy. What a route wants is data, and stands in
//! `table`.

pub mod answers;
pub mod compress;
mod counted;
pub mod digests;
pub mod passwords;
pub mod rate;
pub mod reply_fields;
pub mod same_site;
pub mod tokens;
pub mod under_way;
