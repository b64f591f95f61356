//! What the steps of a route are about, as data, with what follows from a request's head alone.

mod access;
mod addresses;
mod blocked;
mod connections;
mod cors;
mod digest;
mod error_pages;
mod external;
mod fields;
mod jwt;
mod mirror;
mod pace;
mod places;
mod rates;
mod redirection;
mod rewrite;
mod send_to;
mod template;
mod users;

pub use access::{Access, Basic, Satisfy};
pub use addresses::{Addresses, Networks};
pub use blocked::{Blocked, BlockedField};
pub use connections::Connections;
pub use cors::{Cors, Origin, Origins};
pub use digest::{Digest, DigestHash, DigestUsers, DigestUsersRead, is_realm};
pub use error_pages::ErrorPages;
pub use external::{At, External, Remembered, is_same_name};
pub use fields::{
    Edit, FieldChanges, Pattern as FieldPattern, Replies, ReplyFields, RequestFields, What, may_be_replied,
};
pub use jwt::{Claims, Jwt, JwtKeys, JwtKeysRead, KeyMissing, Texts, Verified};
pub use mirror::{Mirror, Share};
pub use pace::Pace;
pub use places::{Exchanged, Places};
pub use rates::{Rate, RateKey, Rates};
pub(super) use redirection::is_own_url;
pub use redirection::{Redirection, Returned};
pub use rewrite::{Rewrite, Target};
pub use send_to::{NewPath, NewPort, SendTo};
pub(super) use template::escaped;
pub use template::{Converter, Known, Sample, Template, VARIABLES};
pub use users::{PasswordHash, Users, UsersRead};
