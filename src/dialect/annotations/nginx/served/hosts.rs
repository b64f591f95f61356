//! Annotations that decide something for a whole host.

use super::super::value::{boolean, switch};
use super::super::{Served, Wrong};
use crate::dialect::annotations::Alias;
use crate::dialect::annotations::value::Value;
use crate::dialect::host::read_host;
use crate::table::{HostRegex, Template};

/// How many other names one Ingress may give its hosts.
const MOST_ALIASES: usize = 64;

pub(super) static ALL: &[Served] = &[
    Served {
        name: "app-root",
        differs: "",
        wrong: Wrong::Default("requests for `/` are not redirected"),
        value: Value::Text {
            form: "a path that begins with `/`",
            pattern: "^/[^\\s$]*$",
            read: |settings, text| {
                settings.nginx.host_wide.app_root = Some(app_root(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "from-to-www-redirect",
        differs: "a usual port is left out of the redirect, and a slash at the end of the path stays",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.nginx.host_wide.www = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "server-alias",
        differs: "expressions take linear time, so look-around and back-references are errors; a wildcard that a rule names \
                  comes before them",
        wrong: Wrong::Default("its hosts have no other names"),
        value: Value::Text {
            form: "hosts, or regular expressions behind a `~`, separated by commas",
            pattern: "^[^\\s]+(, *[^\\s]+)*$",
            read: |settings, text| {
                settings.nginx.host_wide.aliases = aliases(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "use-port-in-redirects",
        differs: "the port is that which the client names, a usual one is left out, and redirects to HTTPS always name another \
                  one",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.nginx.host_wide.with_port = boolean(text)?;
            Ok(())
        }),
    },
];

fn app_root(text: &str) -> Result<Template, String> {
    let wrong = |why: &str| format!("\"{text}\" {why}");
    if !text.starts_with('/') {
        return Err(wrong("does not begin with a slash"));
    }
    if text == "/" {
        return Err(wrong("would lead to itself"));
    }
    if text.contains(|one: char| one == '$' || one.is_whitespace()) {
        return Err(wrong("has a variable or a blank"));
    }
    Template::new(&format!("$scheme://$http_host{text}")).map_err(|why| wrong(&why))
}

fn aliases(text: &str) -> Result<Vec<Alias>, String> {
    let given = || text.split(',').map(str::trim).filter(|one| !one.is_empty());
    if given().count() > MOST_ALIASES {
        return Err(format!("it names more than {MOST_ALIASES} hosts"));
    }
    let read = |one: &str| match one.strip_prefix('~') {
        Some(regex) => HostRegex::new(regex.trim())
            .map(Alias::Expression)
            .map_err(|why| format!("\"{one}\" {why}")),
        None => read_host(one)
            .map(Alias::Host)
            .map_err(|why| format!("\"{one}\" is not a valid host: {why}")),
    };
    let mut all: Vec<Alias> = Vec::new();
    for alias in given().map(read) {
        let alias = alias?;
        if !all.contains(&alias) {
            all.push(alias);
        }
    }
    if all.is_empty() {
        return Err("it names no host".to_owned());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_expressions_are_told_apart() {
        for (text, good) in [
            ("b.test", 1),
            ("b.test, *.c.test,b.test", 2),
            ("~^(www|api)[0-9]+\\.test$", 1),
            ("~(?!a)b", 0),
            ("~^(a", 0),
            ("b_test/", 0),
            ("*", 0),
            (",", 0),
        ] {
            assert_eq!(aliases(text).map_or(0, |all| all.len()), good, "{text}");
        }
        let many: Vec<String> = (0..=MOST_ALIASES).map(|number| format!("a{number}.test")).collect();
        assert!(aliases(&many.join(",")).is_err());
    }

    #[test]
    fn the_root_of_an_app_is_another_path() {
        for (text, good) in [
            ("/app", true),
            ("/", false),
            ("app", false),
            ("/$uri", false),
            ("/a\r\nb", false),
        ] {
            assert_eq!(app_root(text).is_ok(), good, "{text}");
        }
    }
}
