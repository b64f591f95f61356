use super::*;
use crate::table::Known;

#[test]
fn what_is_translated_is_all_there() {
    let snippet = Snippet::new(
        "# A comment; with { all of it\n\
         more_set_headers -s '404 500' -t 'text/html' \"X-Frame-Options: DENY\" 'X-Gone:';\n\
         more_clear_headers X-Powered-By 'X-Debug-*';\n\
         add_header X-One \"a \\\"b\\\"; c\" always; add_header\n  X-Two ${scheme}://$host;\n\
         proxy_hide_header Server;\n\
         proxy_set_header l5d-dst-override $service_name.$namespace.svc.cluster.local:$service_port;\n\
         proxy_set_header Accept-Encoding \"\";\n\
         proxy_set_header Host $host; proxy_set_header Connection \"upgrade\";\n\
         more_set_input_headers 'X-In: 1';\n\
         deny 192.0.2.1; allow 10.0.0.0/8; deny all;\n\
         return 403 \"no\";",
    )
    .unwrap();
    let names: Vec<&str> = snippet.request.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["l5d-dst-override", "Accept-Encoding", "X-In"]);
    let set = |name: &str, text| What::Set(name.into(), Template::new(text).unwrap());
    let add = |name: &str, text| What::Add(name.into(), Template::new(text).unwrap());
    let clear = |name: &str, open| {
        let name = name.into();
        What::Clear(FieldPattern { name, open })
    };
    let what: Vec<What> = snippet.edits.iter().map(|edit| edit.what.clone()).collect();
    assert_eq!(
        what,
        [
            set("X-Frame-Options", "DENY"),
            clear("X-Gone", false),
            clear("X-Powered-By", false),
            clear("X-Debug-", true),
            add("X-One", "a \"b\"; c"),
            add("X-Two", "$scheme://$host"),
        ]
    );
    let when: Vec<&Replies> = snippet.edits.iter().map(|edit| &edit.when).collect();
    assert_eq!(
        (&*when[0].statuses, &*when[0].types),
        (&[404, 500][..], &["text/html".into()][..])
    );
    assert_eq!((when[4], when[5]), (&Replies::default(), &Replies::good()));
    assert_eq!(snippet.hidden.len(), 1);
    let addresses = &snippet.addresses[0];
    for (client, admitted) in [("192.0.2.1", false), ("10.1.1.1", true), ("198.51.100.1", false)] {
        assert_eq!(addresses.admits(client.parse().unwrap()), admitted, "{client}");
    }
    let Some(Before::Return(returned)) = snippet.returned else {
        panic!("{:?}", snippet.returned);
    };
    assert_eq!(
        (returned.status, returned.text.is_some()),
        (StatusCode::FORBIDDEN, true)
    );
    assert!(matches!(
        Snippet::new("return 301 https://a.test$request_uri;").unwrap().returned,
        Some(Before::Redirect(_))
    ));
    assert_eq!(Snippet::new(" \n # nothing\n"), Ok(Snippet::default()));
}

#[test]
fn one_directive_outside_of_the_subset_refuses_all() {
    for (text, line, word) in [
        ("more_set_headers 'A: b';\nif ($host) { return 403; }", 2, "if"),
        ("add_header A b;\n\n\nrewrite ^/a /b;", 4, "rewrite"),
        ("location /x { deny all; }", 1, "location"),
        ("sub_filter a b;", 1, "sub_filter"),
        ("add_header A b", 1, "add_header"),
        ("add_header A \"b;\n", 1, "quote"),
        ("add_header A $unknown;", 1, "$unknown"),
        ("add_header A '$1';", 1, "$1"),
        ("add_header 'A b' c;", 1, "A b"),
        ("add_header A 'b\u{1}';", 1, "escaped"),
        ("add_header Content-Length 5;", 1, "Content-Length"),
        ("more_set_headers 'Connection: close';", 1, "Connection"),
        ("more_set_headers -r 'A: b';", 1, "-r"),
        ("more_set_headers -s 'x' 'A: b';", 1, "-s"),
        ("more_set_headers;", 1, "more_set_headers"),
        ("more_clear_headers Transfer-Encoding;", 1, "Transfer-Encoding"),
        ("proxy_set_header Host other.test;", 1, "Host"),
        ("proxy_set_header X-Forwarded-For 1.2.3.4;", 1, "X-Forwarded-For"),
        ("proxy_set_header Transfer-Encoding chunked;", 1, "Transfer-Encoding"),
        ("allow 10.0.0.0/8; deny 192.0.2.0/24;", 1, "deny"),
        ("deny office;", 1, "office"),
        ("return 444;", 1, "444"),
        ("return 301;", 1, "301"),
        ("return;", 1, "return"),
        ("return 200 a b;", 1, "return"),
        (";", 1, ";"),
        ("}", 1, "block"),
        ("add_header A b;\nif ($http_x = \"a\") { return 403; }", 2, "block"),
        ("lua_need_request_body on;", 1, "lua_need_request_body"),
    ] {
        let why = Snippet::new(text).unwrap_err();
        let beginning = format!("line {line}: ");
        assert!(
            why.starts_with(&beginning) && why.contains(word) || word == "-s" && why.contains("statuses"),
            "{text}: {why}"
        );
    }
    assert!(Snippet::new(&"add_header A b;".repeat(MAX_DIRECTIVES + 1)).is_err());
    assert!(Snippet::new(&" ".repeat(MAX_TEXT + 1)).is_err());
}

#[test]
fn all_are_denied_where_that_is_said() {
    for (text, admitted) in [
        ("deny all;", Some(false)),
        ("allow all;", None),
        ("allow 10.0.0.0/8;", None),
        ("deny 10.0.0.0/8; allow all;", Some(false)),
        ("deny 192.0.2.0/24;", Some(true)),
        ("allow 10.0.0.1; deny all; allow all;", Some(true)),
    ] {
        let addresses = Snippet::new(text).unwrap().addresses;
        let admits = addresses
            .first()
            .map(|addresses| addresses.admits("10.0.0.1".parse().unwrap()));
        assert_eq!(admits, admitted, "{text}");
    }
}

/// Whatever a snippet is put together from, it is refused or has nothing in it that ends a field.
#[test]
fn no_snippet_ends_a_field() {
    const PIECES: &[&str] = &[
        "more_set_headers",
        "add_header",
        "proxy_set_header",
        "more_clear_headers",
        "return",
        "allow",
        "deny",
        "if",
        "all",
        " ",
        "\n",
        "\r",
        "\0",
        "\t",
        ";",
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "#",
        "$",
        "${",
        "host",
        "X-A",
        ":",
        "-s",
        "404",
        "10.0.0.0/8",
        "always",
        "\u{e9}",
        "*",
    ];
    let none = crate::message::Fields::new();
    let known = Known {
        secure: false,
        host: Some("a.test"),
        http_host: Some("a.test"),
        path: "/",
        query: None,
        method: &http::Method::GET,
        client: None,
        fields: &none,
        request_id: None,
        shown: None,
        route: None,
        backend: None,
    };
    let mut random = fastrand::Rng::with_seed(17);
    for _ in 0..20_000 {
        let count = random.usize(1..6);
        let pieces: String = (0..count).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
        let text = match random.usize(..5) {
            0 => pieces,
            1 => format!("add_header X-A \"{pieces}\";"),
            2 => format!("more_set_headers 'X-A: {pieces}';"),
            3 => format!("proxy_set_header X-A '{pieces}';"),
            _ => format!("more_clear_headers X-A{pieces};"),
        };
        let Ok(snippet) = Snippet::new(&text) else { continue };
        let ends = |text: &str| text.chars().any(|one| matches!(one, '\r' | '\n' | '\0'));
        for edit in &snippet.edits {
            let written = match &edit.what {
                What::Set(name, value) | What::SetFromReply(name, value) | What::Add(name, value) => {
                    format!("{name}{}", value.expand(&known))
                }
                What::Clear(pattern) => pattern.name.to_string(),
                What::Join(name, text) => format!("{name}{text}"),
            };
            assert!(!ends(&written), "{text:?}: {written}");
        }
        for (name, value) in &snippet.request {
            assert!(!ends(&format!("{name}{}", value.expand(&known))), "{text:?}");
        }
    }
}
