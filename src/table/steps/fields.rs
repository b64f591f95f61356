//! Changes of the fields of requests and replies.

use super::places::Places;
use super::template::{Known, Template};
use crate::message::{Fields, Name, fold};
use http::{HeaderName, StatusCode};

/// What a route changes of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldChanges {
    pub request: RequestFields,
    pub reply: ReplyFields,
}

/// The fields that pods get beside those that all get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestFields {
    /// A field whose text is empty is left out.
    set: Box<[(Box<str>, Template)]>,
    /// The client's fields of these names go, in lower case and with `-` for all that is neither letter nor digit.
    gone: Box<[Box<[u8]>]>,
    /// The lengths of these names, each a bit.
    lengths: u64,
    /// Fields that come beside those of the client.
    added: Box<[(Box<str>, Template)]>,
    /// Texts that come behind what the client says under a name, as one value. The client's fields of these names go.
    joined: Box<[(HeaderName, Box<str>)]>,
}

impl RequestFields {
    /// Sets these fields. Of two with the same name, the last one counts.
    pub fn new(all: Vec<(Box<str>, Template)>) -> Self {
        let mut set: Vec<(Box<str>, Template)> = Vec::new();
        for (name, template) in all {
            set.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
            set.push((name, template));
        }
        let gone: Box<[Box<[u8]>]> = set.iter().map(|(name, _)| name.bytes().map(fold).collect()).collect();
        let lengths = gone.iter().fold(0, |all, name| all | length(name));
        set.retain(|(_, template)| !template.is_empty());
        Self {
            set: set.into(),
            gone,
            lengths,
            added: Box::default(),
            joined: Box::default(),
        }
    }

    /// The same with fields that come beside those of the client.
    #[must_use]
    pub fn with_added(self, added: Vec<(Box<str>, Template)>) -> Self {
        let added = added.into();
        Self { added, ..self }
    }

    /// The same with texts that come behind what the client says under a name, with a comma between.
    #[must_use]
    pub fn with_joined(mut self, joined: Vec<(HeaderName, Box<str>)>) -> Self {
        let names = joined.iter().map(|(name, _)| name.as_str().bytes().map(fold).collect());
        let mut gone = self.gone.into_vec();
        gone.extend(names);
        self.lengths = gone.iter().fold(0, |all, name| all | length(name));
        self.gone = gone.into();
        self.joined = joined.into();
        self
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.added.is_empty()
    }

    /// Whether a field of the client's goes. A server may read `x_user` as `X-User`, so such names go too.
    #[inline]
    pub fn replaces(&self, name: &[u8]) -> bool {
        let is = |gone: &[u8]| gone.len() == name.len() && gone.iter().zip(name).all(|(a, b)| *a == fold(*b));
        self.lengths & length(name) != 0 && self.gone.iter().any(|gone| is(gone))
    }

    /// The fields for a request.
    pub fn expand(&self, known: &Known<'_>) -> Fields {
        let mut fields = Fields::new();
        for (name, template) in self.set.iter().chain(&self.added) {
            let value = template.expand(known);
            if !value.is_empty() {
                fields.append(&**name, value.as_bytes());
            }
        }
        for (name, text) in &self.joined {
            let lines = known.fields.get_all(name).map(|line| line.as_bytes());
            let lines = lines.chain([text.as_bytes()]).collect::<Vec<_>>();
            fields.append(name.as_str(), &*lines.join(&b','));
        }
        fields
    }
}

fn length(name: &[u8]) -> u64 {
    1 << (name.len() & 63)
}

/// What replies get and lose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReplyFields {
    /// Fields of pods that clients do not get.
    pub hidden: Box<[Pattern]>,
    /// What is changed of the places that pods name: in `Location`, `Refresh` and cookies.
    pub places: Option<Box<Places>>,
    /// Done to all replies, in this order.
    pub edits: Box<[Edit]>,
}

/// A change of the fields of one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edit {
    pub what: What,
    pub when: Replies,
}

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The field has this value; it is taken out where the value is empty.
    Set(Box<str>, Template),
    /// The same, with a value that is made of the reply and not of the request.
    SetFromReply(Box<str>, Template),
    /// The field has this value too.
    Add(Box<str>, Template),
    /// This text comes behind what the field says, as one value.
    Join(HeaderName, Box<str>),
    /// The fields go.
    Clear(Pattern),
}

/// Which replies are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Replies {
    /// Those of these statuses; where there are none, of all.
    pub statuses: Box<[u16]>,
    /// Those of these media types; where there are none, of all.
    pub types: Box<[Box<str>]>,
}

impl Replies {
    /// The statuses that nginx adds fields to, unless it is told to add them always.
    pub fn good() -> Self {
        Self {
            statuses: Box::new([200, 201, 204, 206, 301, 302, 303, 304, 307, 308]),
            types: Box::default(),
        }
    }

    fn are(&self, status: StatusCode, fields: &Fields) -> bool {
        let media = || {
            let value = fields.get(&Name::ContentType).map(|value| value.as_bytes());
            let media = value.unwrap_or_default().split(|byte| *byte == b';').next();
            media.unwrap_or_default().trim_ascii()
        };
        let is_status = self.statuses.is_empty() || self.statuses.contains(&status.as_u16());
        let is_type = || {
            let media = media();
            self.types
                .iter()
                .any(|known| known.as_bytes().eq_ignore_ascii_case(media))
        };
        is_status && (self.types.is_empty() || is_type())
    }
}

/// The name of a field, or the beginning of many names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    pub name: Box<str>,
    /// Whether any text may follow.
    pub open: bool,
}

impl Pattern {
    fn fits(&self, name: &[u8]) -> bool {
        let own = self.name.as_bytes();
        let begins = name
            .get(..own.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(own));
        begins && (self.open || name.len() == own.len())
    }
}

impl ReplyFields {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.hidden.is_empty() && self.edits.is_empty() && self.places.is_none()
    }

    /// Changes a pod's reply before all else.
    pub fn clean(&self, known: &Known<'_>, fields: &mut Fields) {
        if let Some(places) = &self.places {
            places.apply(known, fields);
        }
        if !self.hidden.is_empty() {
            fields
                .retain(|field| is_framing(field.known) || !self.hidden.iter().any(|pattern| pattern.fits(field.name)));
        }
    }

    /// Changes a reply, the pod's or narthex's own.
    pub fn apply(&self, known: &Known<'_>, status: StatusCode, fields: &mut Fields) {
        for Edit { what, when } in &self.edits {
            if !when.are(status, fields) {
                continue;
            }
            match what {
                What::Set(name, template) => match template.expand(known) {
                    value if value.is_empty() => fields.remove(&**name),
                    value => fields.insert(&**name, value.as_bytes()),
                },
                What::SetFromReply(name, template) => {
                    let reply = Known {
                        fields: &*fields,
                        ..*known
                    };
                    match template.expand(&reply).into_owned() {
                        value if value.is_empty() => fields.remove(&**name),
                        value => fields.insert(&**name, value.as_bytes()),
                    }
                }
                What::Add(name, template) => {
                    let value = template.expand(known);
                    if !value.is_empty() {
                        fields.append(&**name, value.as_bytes());
                    }
                }
                What::Join(name, text) => {
                    let lines = fields.get_all(name).map(|line| line.as_bytes());
                    let lines = lines.chain([text.as_bytes()]).collect::<Vec<_>>();
                    let value = lines.join(&b',');
                    fields.insert(name.as_str(), &*value);
                }
                What::Clear(pattern) => fields.retain(|field| is_framing(field.known) || !pattern.fits(field.name)),
            }
        }
    }
}

/// Whether a field says where a message ends or what becomes of its connection. Nobody may take it away or set it.
fn is_framing(name: Name) -> bool {
    matches!(
        name,
        Name::Connection
            | Name::ContentLength
            | Name::GrpcStatus
            | Name::KeepAlive
            | Name::SecWebsocketAccept
            | Name::Te
            | Name::Trailer
            | Name::TransferEncoding
            | Name::Upgrade
    )
}

/// Whether replies may be given a field of this name.
pub fn may_be_replied(name: &str) -> bool {
    !is_framing(Name::of(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(fields: &Fields) -> Known<'_> {
        Known {
            secure: true,
            ..Known::of_get(Some("a.test"), "/", fields)
        }
    }

    fn template(text: &str) -> Template {
        Template::new(text).unwrap()
    }

    #[test]
    fn what_is_set_takes_the_place_of_what_the_client_says() {
        let changes = RequestFields::new(vec![
            ("X-Scheme".into(), template("$scheme")),
            ("X-User".into(), template("$http_x_none")),
            ("X-Gone".into(), template("")),
            ("x-scheme".into(), template("${scheme}!")),
        ]);
        for (name, goes) in [
            ("X-Scheme", true),
            ("x_scheme", true),
            ("X.USER", true),
            ("x-gone", true),
            ("X-Other", false),
            ("X-Userx", false),
        ] {
            assert_eq!(changes.replaces(name.as_bytes()), goes, "{name}");
        }
        let none = Fields::new();
        let fields = changes.expand(&known(&none));
        assert_eq!(format!("{fields:?}"), "[x-scheme: \"https!\"]");
    }

    #[test]
    fn replies_are_changed_in_order() {
        let edit = |what, when| Edit { what, when };
        let clear = |name: &str, open| Pattern {
            name: name.into(),
            open,
        };
        let reply = ReplyFields {
            hidden: Box::new([clear("x-pod", true)]),
            places: None,
            edits: Box::new([
                edit(What::Set("X-A".into(), template("$host")), Replies::default()),
                edit(What::Add("X-A".into(), template("2")), Replies::good()),
                edit(What::Set("X-B".into(), template("")), Replies::default()),
                edit(What::Clear(clear("x-c", true)), Replies::default()),
                edit(What::Clear(clear("content-length", false)), Replies::default()),
                edit(
                    What::Set("X-T".into(), template("t")),
                    Replies {
                        types: Box::new(["text/html".into()]),
                        ..Replies::default()
                    },
                ),
            ]),
        };
        let none = Fields::new();
        for (status, media, wanted) in [
            (StatusCode::OK, "text/html; charset=utf-8", vec!["a.test", "2", "t"]),
            (StatusCode::NOT_FOUND, "text/htmlx", vec!["a.test"]),
        ] {
            let mut fields = Fields::new();
            for (name, value) in [
                ("x-a", "pod"),
                ("X-B", "pod"),
                ("X-Cc", "pod"),
                ("X-Pod-Name", "pod"),
                ("Content-Length", "0"),
                ("Content-Type", media),
            ] {
                fields.append(name, value);
            }
            reply.clean(&known(&none), &mut fields);
            reply.apply(&known(&none), status, &mut fields);
            let values = fields.iter().filter(|field| field.known == Name::Other);
            let values: Vec<_> = values.map(|field| field.value.to_str().unwrap()).collect();
            assert_eq!(values, wanted, "{status}");
            assert!(fields.contains(&Name::ContentLength));
        }
    }
}
