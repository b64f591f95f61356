//! An offence in each form is found, and what is none is not.

use crate::rooms::{self, Named, Table};
use crate::rust::{self, Target};

const PAGE: &str = "\n## Rooms\n
| room | what it is | uses | must not use the crates |
|---|---|---|---|
| `low` | the `ground` floor | nothing | nothing |
| `mid` | reads `low` | `low` | `kube`, `tokio` |
| `high` | on top | all | nothing |

## Next
| `other` | a | `table` | nothing |
";

fn table() -> Table {
    rooms::table(PAGE)
}

/// What is found wrong with a file of the room `mid`, two modules deep.
fn offences(text: &str) -> Vec<String> {
    let module = ["mid", "part", "leaf"].map(str::to_owned);
    let named: Vec<Named> = rust::read(text, &module)
        .named
        .into_iter()
        .map(|(target, line)| Named {
            room: "mid".to_owned(),
            at: line.to_string(),
            target,
        })
        .collect();
    rooms::offences(&table(), &named)
}

#[test]
fn the_table_is_read() {
    let table = table();
    assert_eq!(table.keys().collect::<Vec<_>>(), ["high", "low", "mid"]);
    assert!(table["low"].uses.is_empty());
    assert_eq!(table["mid"].uses.iter().collect::<Vec<_>>(), ["low"]);
    assert_eq!(table["mid"].without.iter().collect::<Vec<_>>(), ["kube", "tokio"]);
    assert_eq!(table["high"].uses.iter().collect::<Vec<_>>(), ["low", "mid"]);
}

#[test]
fn every_form_of_an_import_is_seen() {
    for text in [
        "use crate::high;",
        "use crate::high::X;",
        "use crate::high::{self, X};",
        "use crate::{low, high};",
        "use crate::{low::{A, b::C}, high::d::E};",
        "use crate::{low::{self, A}, {high as low2}};",
        "use {crate::low, crate::high::*};",
        "use ::std::fmt;\npub use crate::high::X as Y;",
        "pub(crate) use crate::high::X;",
        "pub(in crate::mid) use crate::high::X;",
        "use super::super::super::high::X;",
        "use super::super::{super::high, other};",
        "use self::super::super::super::high;",
        "use crate::r#high::X;",
        "use crate /* here */ ::\n  // there\n  high;",
        "fn f() { use crate::high::X; }",
        "mod inner { use super::super::super::super::high::X; }",
        "mod inner { fn f() {} mod more { } use super::super::super::super::high; }",
        "macro_rules! m { () => { use $crate::high::X; } }",
    ] {
        let found = offences(text);
        let all = found.iter().all(|one| one.ends_with("`mid` may not use `high`"));
        assert!(all && !found.is_empty(), "{text}: {found:?}");
    }
}

#[test]
fn every_form_of_a_path_is_seen() {
    for text in [
        "fn f() { crate::high::f(); }",
        "fn f() { let x = -crate::high::X; }",
        "fn f() { x..crate::high::X }",
        "fn f() -> crate::high::X {}",
        "fn f<T: crate::high::X>(t: T) {}",
        "struct S<'a> { x: &'a crate::high::X }",
        "struct S { x: Vec<crate::high::X<u8>> }",
        "impl crate::high::X for S {}",
        "fn f() { <u8 as crate::high::X>::f() }",
        "fn f() { match x { crate::high::X { y } => 'a', _ => '\\'' } }",
        "fn f() { super::super::super::high::f() }",
        "fn f() { print!(\"{}\", crate::high::X) }",
        "fn f() { crate::high::call!(x) }",
        "macro_rules! m { ($x:expr) => { $crate::high::f($x) } }",
        "#[derive(crate::high::X)] struct S;",
        "#[serde(with = \"crate::high::x\")] struct S;",
        "#![allow(x)]\n#[cfg_attr(x, y(z = r#\"super::super::super::high::X\"#))] struct S;",
        "fn f() { let s = \"\\\"{\"; let r = br#\"}\"\"#; crate::high::f() }",
        "/* /* */ crate::high::X */ type X = crate::high::X;",
    ] {
        assert_eq!(offences(text).len(), 1, "{text}: {:?}", offences(text));
        assert!(offences(text)[0].ends_with("`mid` may not use `high`"), "{text}");
    }
}

#[test]
fn crates_are_seen_like_rooms() {
    for text in [
        "use tokio;",
        "use tokio::net;",
        "use ::tokio::net as n;",
        "use {std::fmt, tokio::{io, net}};",
        "use tokio_rustls::X;",
        "extern crate tokio;",
        "fn f() { tokio::spawn(x) }",
        "fn f() -> ::tokio::X {}",
        "fn f() { x as ::tokio::X }",
        "#[tokio::main] fn f() {}",
        "fn f() { tokio::select! {} }",
        "fn f<T>() where T: kube::Resource {}",
    ] {
        let found = offences(text);
        assert!(
            !found.is_empty() && found.iter().all(|one| one.contains("the crate")),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn ways_around_are_offences_too() {
    for text in [
        "use crate::*;",
        "use crate as root;",
        "use crate::{self as root};",
        "use super::super::super::*;",
        "use super::super::super as root;",
        "extern crate self as narthex;",
        "fn f() { m!(crate, high) }",
        "macro_rules! m { ($room:ident) => { use crate::$room::X; } }",
        "macro_rules! m { ($room:ident) => { crate::$room::f() } }",
        "use crate::Thing;",
        "crate::a_macro!();",
        "#[macro_export] macro_rules! m { () => {} }",
        "#[macro_use] mod m {}",
        "#[path = \"../../high/x.rs\"] mod x;",
        "#[cfg_attr(unix, path = \"../../high/x.rs\")] mod x;",
        "include!(\"../../high/x.rs\");",
    ] {
        assert_eq!(offences(text).len(), 1, "{text}: {:?}", offences(text));
    }
}

#[test]
fn what_is_allowed_is_no_offence() {
    for text in [
        "use crate::low::{self, a::B};",
        "use crate::{low, mid::{x, y}};",
        "use super::super::high;",
        "mod inner { use super::super::super::high; }",
        "pub(crate) fn f() {} pub(super) struct S(pub(crate) u8, pub(in crate::mid) u8);",
        "// crate::high::X\n/// [`crate::high::X`]\n//! use crate::high;\nfn f() {}",
        "fn f() { \"crate::high::X\"; r#\"crate::high\"#; 'c'; b'\"'; '\"'; }",
        "fn f() { x.tokio::<u8>(); a::tokio::b(); <T as A>::kube; }",
        "fn f<'tokio>(x: &'tokio u8) -> impl Fn() + use<'tokio> { 1..2 }",
        "use other::tokio::{kube, X}; use tokioer::x;",
        "const X: &[u8] = include!(concat!(env!(\"OUT_DIR\"), \"/x.rs\"));",
        "#[cfg(test)] mod tests { use crate::high::X; fn f() { crate::high::f() } }",
        "#[cfg(test)]\n#[allow(clippy::all)]\npub(crate) mod tests { use tokio::X; }",
    ] {
        assert!(offences(text).is_empty(), "{text}: {:?}", offences(text));
    }
}

#[test]
fn a_file_is_read_to_its_end() {
    let text = "#[cfg(test)]\nuse std::fmt;\n#[cfg(test)]\nmod tests {\n  const X: &str = \"}\";\n  use crate::high::A;\n}\n\
        #[cfg(test)]\nfn helper() { crate::high::b() }\nmod other {\n  use crate::high::C;\n}\nuse crate::high::D;\n";
    let lines: Vec<String> = offences(text)
        .iter()
        .map(|one| one.split(':').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(lines, ["9", "11", "13"]);
}

#[test]
fn modules_for_tests_with_a_file_of_their_own_are_known() {
    let module = ["mid".to_owned()];
    let file = rust::read(
        "mod a;\n#[cfg(test)]\nmod tests;\nmod b { #[cfg(test)] mod c; }",
        &module,
    );
    let expected: Vec<Vec<String>> = vec![
        vec!["mid".into(), "tests".into()],
        vec!["mid".into(), "b".into(), "c".into()],
    ];
    assert_eq!(file.tests, expected);
    assert!(file.named.iter().all(|(target, _)| matches!(target, Target::Crate(_))));
}

#[test]
fn circles_are_found_and_floors_counted() {
    let rooms = ["a", "b", "c", "d"];
    let (floors, left) = rooms::floors(rooms.into_iter(), &[("b", "a"), ("c", "b"), ("c", "a"), ("d", "a")]);
    assert_eq!(floors, [vec!["a"], vec!["b", "d"], vec!["c"]]);
    assert!(left.is_empty());
    let (_, left) = rooms::floors(rooms.into_iter(), &[("b", "c"), ("c", "d"), ("d", "b")]);
    assert_eq!(left, ["b", "c", "d"]);
}
