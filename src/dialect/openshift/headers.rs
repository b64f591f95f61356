//! `spec.httpHeaders.actions`: fields that requests and responses get and lose.

use super::object::{HeaderAction, Route};
use crate::table::{
    After, Before, Converter, Edit, FieldChanges, FieldPattern, Replies, ReplyFields, RequestFields, Sample, Template,
    What, may_be_replied,
};
use http::HeaderName;
use std::sync::Arc;

/// Fields that OpenShift's API reserves.
const RESERVED: [&str; 5] = ["cookie", "host", "proxy", "set-cookie", "strict-transport-security"];

/// The longest value that the API takes.
const MOST_VALUE: usize = 16_384;

/// The steps of a Route. What OpenShift's API would refuse of its actions is added to `wrong`, each with its field.
pub(super) fn steps(route: &Route, wrong: &mut Vec<(String, String)>) -> Option<(Before, After)> {
    let actions = route.actions.as_ref()?;
    let mut request: Vec<(Box<str>, Template)> = Vec::new();
    for (place, action) in actions.request.iter().enumerate() {
        match read(action, false) {
            Ok(Some(template)) => request.push((action.name.clone(), template)),
            // Without a value the field goes.
            Ok(None) => request.push((action.name.clone(), Template::default())),
            Err(why) => wrong.push((format!("spec.httpHeaders.actions.request[{place}]"), why)),
        }
    }
    let mut edits = Vec::new();
    for (place, action) in actions.response.iter().enumerate() {
        let what = match read(action, true) {
            Ok(Some(template)) => What::SetFromReply(action.name.clone(), template),
            Ok(None) => What::Clear(FieldPattern {
                name: action.name.clone(),
                open: false,
            }),
            Err(why) => {
                wrong.push((format!("spec.httpHeaders.actions.response[{place}]"), why));
                continue;
            }
        };
        edits.push(Edit {
            what,
            when: Replies::default(),
        });
    }
    let changes = Arc::new(FieldChanges {
        request: RequestFields::new(request),
        reply: ReplyFields {
            edits: edits.into(),
            ..ReplyFields::default()
        },
    });
    Some((Before::Fields(changes.clone()), After::Fields(changes)))
}

/// The value that a field is set to; absent where it is taken away.
fn read(action: &HeaderAction, is_response: bool) -> Result<Option<Template>, String> {
    let name = action.name.to_ascii_lowercase();
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("\"{}\" is not the name of a field", action.name))?;
    if RESERVED.contains(&&*name) || !may_be_replied(&name) {
        return Err(format!("\"{}\" is reserved: it cannot be set or deleted", action.name));
    }
    match (&*action.kind, &action.value) {
        ("Delete", None) => Ok(None),
        ("Delete", Some(_)) => Err("the type Delete has no value".to_owned()),
        ("Set", Some(value)) => template(value, is_response).map(Some),
        ("Set", None) => Err("set.value is missing".to_owned()),
        (other, _) => Err(format!("the type \"{other}\" is neither Set nor Delete")),
    }
}

/// A value: text, and what stands for fields of the message.
fn template(value: &str, is_response: bool) -> Result<Template, String> {
    let invalid = |why: &str| format!("the value \"{value}\" {why}");
    if value.is_empty() || value.len() > MOST_VALUE {
        return Err(format!(
            "the value has {} characters, not 1 to {MOST_VALUE}",
            value.len()
        ));
    }
    let (mut parts, mut text, mut rest) = (Vec::new(), String::new(), value);
    while let Some((before, behind)) = rest.split_once('%') {
        text += before;
        if let Some(behind) = behind.strip_prefix('%') {
            text.push('%');
            rest = behind;
            continue;
        }
        let inside = behind.strip_prefix('[').and_then(|inside| inside.split_once(']'));
        let (inside, behind) = inside.ok_or_else(|| invalid("has a % that is neither %% nor %[...]"))?;
        let of = if is_response { "res.hdr" } else { "req.hdr" };
        let sample = sample(inside, of).ok_or_else(|| {
            invalid(&format!(
                "has something else in brackets than {of}(X), with lower or base64 behind, or ssl_c_der,base64"
            ))
        })?;
        parts.push((std::mem::take(&mut text), Some(sample)));
        rest = behind;
    }
    text += rest;
    parts.push((text, None));
    Template::of_parts(parts).map_err(|why| format!("the value {why}"))
}

/// What stands in brackets. `of` is what fetches a field of this kind of message.
fn sample(text: &str, of: &str) -> Option<(Sample, Vec<Converter>)> {
    let mut words = text.split(',').map(str::trim);
    let fetch = words.next().unwrap_or_default();
    let converters = words.map(|word| match word {
        "lower" => Some(Converter::Lower),
        "base64" => Some(Converter::Base64),
        _ => None,
    });
    let converters: Vec<Converter> = converters.collect::<Option<_>>()?;
    if fetch == "ssl_c_der" {
        // A field cannot have the bytes themselves.
        return (converters.first() == Some(&Converter::Base64)).then_some((Sample::Certificate, converters));
    }
    let name = fetch.strip_prefix(of)?.strip_prefix('(')?.strip_suffix(')')?;
    let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).ok()?;
    Some((Sample::Field(name), converters))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Fields;
    use crate::table::Known;

    fn expanded(value: &str) -> String {
        let mut fields = Fields::new();
        fields.append("X-A", "First");
        fields.append("X-A", "Last");
        let known = Known::of_get(None, "/", &fields);
        let Ok(template) = template(value, false) else {
            return "-".to_owned();
        };
        template.expand(&known).into_owned()
    }

    #[test]
    fn values_are_text_and_fields_and_nothing_else() {
        for (value, wanted) in [
            ("plain $host", "plain $host"),
            ("100%% <%[req.hdr(x-a)]>", "100% <Last>"),
            ("%[req.hdr(X-A),lower]", "last"),
            ("%[req.hdr(X-A),lower,base64]", "bGFzdA=="),
            ("%[req.hdr(X-A), base64,lower]", "tgfzda=="),
            ("%[req.hdr(X-None)]", ""),
            ("%[ssl_c_der,base64]", ""),
            ("%[res.hdr(X-A)]", "-"),
            ("%[req.hdr(X-A),upper]", "-"),
            ("%[req.hdr(X-A)", "-"),
            ("%[env(HOME)]", "-"),
            ("50% off", "-"),
            ("%[ssl_c_der]", "-"),
            ("a\nb", "-"),
            ("", "-"),
        ] {
            assert_eq!(expanded(value), wanted, "{value}");
        }
    }

    #[test]
    fn reserved_fields_are_refused() {
        for (name, kind, good) in [
            ("X-A", "Delete", true),
            ("Server", "Delete", true),
            ("Host", "Set", false),
            ("Set-Cookie", "Delete", false),
            ("Connection", "Set", false),
            ("Content-Length", "Delete", false),
            ("X A", "Set", false),
            ("X-A", "Add", false),
        ] {
            let action = HeaderAction {
                name: name.into(),
                kind: kind.into(),
                value: (kind != "Delete").then(|| "v".into()),
            };
            assert_eq!(read(&action, true).is_ok(), good, "{name} {kind}");
        }
    }
}
