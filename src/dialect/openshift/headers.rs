//! `spec.httpHeaders.actions`: fields that requests and responses get and lose.

use super::object::{HeaderAction, Route};
use crate::table::{
    After, Before, Converter, Edit, FieldChanges, FieldPattern, Replies, ReplyFields, RequestFields, Sample, Template,
    What, may_be_replied,
};
use http::HeaderName;
use std::collections::HashMap;
use std::sync::Arc;

/// Fields that OpenShift's API reserves.
const RESERVED: [&str; 5] = ["cookie", "host", "proxy", "set-cookie", "strict-transport-security"];

/// The longest value that the API takes.
const MOST_VALUE: usize = 16_384;

/// The most parts that a value may have with those of the values that it is made of: each may double what was before it.
const MOST_PARTS: usize = 256;

/// The fields of requests that earlier actions have set, with the number of parts of each value. Those that were taken away
/// have none.
type Made = HashMap<HeaderName, (Arc<Template>, usize)>;

/// The steps of a Route. What OpenShift's API would refuse of its actions is added to `wrong`, each with its field.
pub(super) fn steps(route: &Route, wrong: &mut Vec<(String, String)>) -> Option<(Before, After)> {
    let actions = route.actions.as_ref()?;
    let mut request: Vec<(Box<str>, Template)> = Vec::new();
    let mut made = Made::new();
    for (place, action) in actions.request.iter().enumerate() {
        match read(action, Some(&made)) {
            Ok((name, value)) => {
                // Without a value the field goes.
                let (template, parts) = value.unwrap_or_default();
                request.push((action.name.clone(), template.clone()));
                made.insert(name, (Arc::new(template), parts));
            }
            Err(why) => wrong.push((format!("spec.httpHeaders.actions.request[{place}]"), why)),
        }
    }
    let mut edits = Vec::new();
    for (place, action) in actions.response.iter().enumerate() {
        let what = match read(action, None) {
            Ok((_, Some((template, _)))) => What::SetFromReply(action.name.clone(), template),
            Ok((_, None)) => What::Clear(FieldPattern {
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

/// A value, and the number of its parts.
type Counted = (Template, usize);

/// The name of a field, and the value that it is set to; absent where it is taken away. `made` is there for requests.
fn read(action: &HeaderAction, made: Option<&Made>) -> Result<(HeaderName, Option<Counted>), String> {
    let name = action.name.to_ascii_lowercase();
    let known = HeaderName::from_bytes(name.as_bytes());
    let known = known.map_err(|_| format!("\"{}\" is not the name of a field", action.name))?;
    if RESERVED.contains(&&*name) || !may_be_replied(&name) {
        return Err(format!("\"{}\" is reserved: it cannot be set or deleted", action.name));
    }
    match (&*action.kind, &action.value) {
        ("Delete", None) => Ok((known, None)),
        ("Delete", Some(_)) => Err("the type Delete has no value".to_owned()),
        ("Set", Some(value)) => Ok((known, Some(template(value, made)?))),
        ("Set", None) => Err("set.value is missing".to_owned()),
        (other, _) => Err(format!("the type \"{other}\" is neither Set nor Delete")),
    }
}

/// A value: text, and what stands for fields of the message.
fn template(value: &str, made: Option<&Made>) -> Result<Counted, String> {
    let invalid = |why: &str| format!("the value \"{value}\" {why}");
    if value.is_empty() || value.len() > MOST_VALUE {
        return Err(format!(
            "the value has {} characters, not 1 to {MOST_VALUE}",
            value.len()
        ));
    }
    let (mut parts, mut text, mut rest, mut count) = (Vec::new(), String::new(), value, 1);
    while let Some((before, behind)) = rest.split_once('%') {
        text += before;
        if let Some(behind) = behind.strip_prefix('%') {
            text.push('%');
            rest = behind;
            continue;
        }
        let inside = behind.strip_prefix('[').and_then(|inside| inside.split_once(']'));
        let (inside, behind) = inside.ok_or_else(|| invalid("has a % that is neither %% nor %[...]"))?;
        let of = if made.is_some() { "req.hdr" } else { "res.hdr" };
        let mut sample = sample(inside, of).ok_or_else(|| {
            invalid(&format!(
                "has something else in brackets than {of}(X), with lower or base64 behind, or ssl_c_der,base64"
            ))
        })?;
        count += 1;
        // It is what the actions before this one have made of it.
        if let Sample::Field(name) = &sample.0
            && let Some((earlier, parts)) = made.and_then(|made| made.get(name))
        {
            count += parts;
            sample.0 = Sample::Made(earlier.clone());
        }
        parts.push((std::mem::take(&mut text), Some(sample)));
        rest = behind;
    }
    if count > MOST_PARTS {
        let message = format!("is made of more than {MOST_PARTS} parts, with those of the fields that it names");
        return Err(invalid(&message));
    }
    text += rest;
    parts.push((text, None));
    let template = Template::of_parts(parts).map_err(|why| format!("the value {why}"))?;
    Ok((template, count))
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
        let Ok((template, _)) = template(value, Some(&Made::new())) else {
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
    fn a_value_is_made_of_what_earlier_actions_have_made() {
        let set = |name: &str, value: &str| HeaderAction {
            name: name.into(),
            kind: "Set".into(),
            value: Some(value.into()),
        };
        let delete = HeaderAction {
            name: "X-A".into(),
            kind: "Delete".into(),
            value: None,
        };
        let steps_of = |request: Vec<HeaderAction>| {
            let mut wrong = Vec::new();
            let route = Route {
                actions: Some(Box::new(super::super::RouteActions {
                    request: request.into(),
                    response: Box::default(),
                })),
                ..Route::default()
            };
            let steps = steps(&route, &mut wrong);
            (steps, wrong)
        };
        let (steps, wrong) = steps_of(vec![
            set("x-b", "1%[req.hdr(X-A)]"),
            set("X-A", "2%[req.hdr(x-a),lower]"),
            set("X-C", "%[req.hdr(X-A)]%[req.hdr(X-B),base64]"),
            delete,
            set("X-D", "<%[req.hdr(X-A)]>"),
        ]);
        assert_eq!(wrong, []);
        let Some((Before::Fields(changes), _)) = steps else {
            panic!("no fields")
        };
        let mut fields = Fields::new();
        fields.append("X-A", "Sent");
        let expanded = changes.request.expand(&Known::of_get(None, "/", &fields));
        for (name, wanted) in [
            ("x-a", None),
            ("x-b", Some("1Sent")),
            ("x-c", Some("2sentMVNlbnQ=")),
            ("x-d", Some("<>")),
        ] {
            let name = HeaderName::from_static(name);
            let mut got = expanded.get_all(&name).filter_map(|value| value.to_str());
            assert_eq!(got.next_back(), wanted, "{name}");
        }
        // Each may double what was before it.
        let twice = "%[req.hdr(X-A)]%[req.hdr(X-A)]";
        let (_, wrong) = steps_of(std::iter::repeat_with(|| set("X-A", twice)).take(20).collect());
        assert!(
            wrong[0].0.ends_with("request[6]") && wrong[0].1.contains("256 parts"),
            "{wrong:?}"
        );
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
            assert_eq!(read(&action, None).is_ok(), good, "{name} {kind}");
        }
    }
}
