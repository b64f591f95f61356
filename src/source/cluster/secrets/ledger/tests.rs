use super::*;
use crate::model::Code;
use crate::model::object::{Meta, Secret};
use tokio::sync::mpsc;

/// A ledger and the control task's end of it.
struct Stage {
    ledger: Ledger,
    sender: Sender,
    events: mpsc::Receiver<Event>,
}

fn stage() -> Stage {
    let (sender, events) = mpsc::channel(100);
    Stage {
        ledger: Ledger::default(),
        sender,
        events,
    }
}

const WIDE: Voice = Voice::Wide(None);

fn of(name: &str) -> Key {
    ("n".into(), name.into())
}

fn by_name(name: &str) -> Voice {
    Voice::Named(of(name))
}

fn secret(name: &str, kind: &str) -> Object {
    Object::Secret(Arc::new(Secret {
        meta: Meta {
            namespace: "n".into(),
            name: name.into(),
            ..Meta::default()
        },
        kind: Some(kind.to_owned()),
        ..Secret::default()
    }))
}

fn apply(name: &str, kind: &str) -> Change {
    Change::Apply(secret(name, kind))
}

fn delete(name: &str) -> Change {
    Change::Delete(ObjectRef::new(Kind::Secret, "n", name))
}

fn broken(name: &str) -> Diagnostic {
    Diagnostic::new(
        Code::InvalidObject,
        &ObjectRef::new(Kind::Secret, "n", name),
        "data",
        "odd",
    )
}

fn list(objects: &[(&str, &str)]) -> Change {
    Change::Replace {
        kind: Kind::Secret,
        namespace: None,
        objects: objects.iter().map(|(name, kind)| secret(name, kind)).collect(),
        broken: vec![],
    }
}

fn denied() -> ApiError {
    ApiError::Forbidden("no".to_owned())
}

impl Stage {
    /// What the control task hears when a watch says something.
    async fn says(&mut self, voice: &Voice, change: Change) -> Vec<String> {
        assert!(self.ledger.say(voice, change, &self.sender).await.is_ok());
        self.heard()
    }

    async fn ends(&mut self, name: &str) -> Vec<String> {
        assert!(self.ledger.end(&of(name), &self.sender).await.is_ok());
        self.heard()
    }

    fn heard(&mut self) -> Vec<String> {
        let short = |object: &Object| match object {
            Object::Secret(secret) => format!("{}:{}", secret.meta.name, secret.kind.as_deref().unwrap_or_default()),
            other => panic!("{other:?}"),
        };
        let mut heard = vec![];
        while let Ok(event) = self.events.try_recv() {
            heard.push(match event {
                Event::Change(Change::Apply(object)) => format!("apply {}", short(&object)),
                Event::Change(Change::Delete(object)) => format!("delete {}", object.name),
                Event::Change(Change::Broken(_)) => "broken".to_owned(),
                Event::Change(Change::Replace { objects, broken, .. }) => {
                    let names: Vec<String> = objects.iter().map(short).collect();
                    format!("list {} broken {}", names.join(" "), broken.len())
                }
                other => panic!("{other:?}"),
            });
        }
        heard
    }

    async fn needs(&self, names: &[&str]) -> Vec<String> {
        let wanted = names.iter().map(|name| of(name)).collect();
        let needed = self.ledger.needed(&wanted).await;
        needed.into_iter().map(|(_, name)| name.to_string()).collect()
    }

    async fn unanswered(&self, names: &[&str]) -> usize {
        let wanted = names.iter().map(|name| of(name)).collect();
        self.ledger.unanswered(&wanted).await.len()
    }
}

#[tokio::test]
async fn a_list_goes_on_with_what_only_named_watches_know() {
    let mut stage = stage();
    for name in ["a", "b", "c"] {
        stage.ledger.begin(of(name)).await;
    }
    assert_eq!(
        stage.says(&by_name("a"), apply("a", "Opaque")).await,
        ["apply a:Opaque"]
    );
    assert_eq!(stage.says(&by_name("b"), Change::Broken(broken("b"))).await, ["broken"]);
    assert_eq!(stage.says(&by_name("c"), apply("c", "old")).await, ["apply c:old"]);
    let said = stage.says(&WIDE, list(&[("c", "new"), ("d", "tls")])).await;
    assert_eq!(
        said,
        ["list c:new d:tls a:Opaque broken 1"],
        "and the wide watch is believed first"
    );
    let elsewhere = Voice::Wide(Some("other".into()));
    assert_eq!(stage.says(&elsewhere, list(&[])).await, ["list  broken 0"]);
}

#[tokio::test]
async fn neither_takes_away_what_the_other_has_whichever_is_ahead() {
    // An Opaque one is deleted and made again as a certificate; the wide watch hears of it first, or last.
    let mut stage = stage();
    stage.says(&WIDE, list(&[])).await;
    stage.ledger.begin(of("a")).await;
    stage.says(&by_name("a"), apply("a", "Opaque")).await;
    assert_eq!(stage.says(&WIDE, apply("a", "tls")).await, ["apply a:tls"]);
    assert_eq!(stage.says(&by_name("a"), delete("a")).await, [""; 0]);
    assert_eq!(stage.says(&by_name("a"), apply("a", "tls")).await, [""; 0]);
    assert_eq!(stage.ends("a").await, [""; 0]);

    // And back.
    stage.ledger.begin(of("a")).await;
    stage.says(&by_name("a"), apply("a", "Opaque")).await;
    assert_eq!(stage.says(&WIDE, delete("a")).await, ["apply a:Opaque"]);
    assert_eq!(stage.ends("a").await, ["delete a"]);
    assert_eq!(
        stage.says(&by_name("a"), apply("a", "Opaque")).await,
        [""; 0],
        "it has ended"
    );
}

#[tokio::test]
async fn only_what_the_wide_watch_does_not_deliver_needs_a_name() {
    let mut stage = stage();
    assert_eq!(stage.needs(&["a", "b"]).await, ["a", "b"], "not watched at all");
    stage.ledger.expect(None).await;
    assert_eq!(stage.needs(&["a", "b"]).await, [""; 0], "it may still come");
    assert_eq!(stage.unanswered(&["a", "b"]).await, 2);
    stage.says(&WIDE, list(&[("a", "tls")])).await;
    assert_eq!(stage.needs(&["a", "b"]).await, ["b"]);
    assert_eq!(stage.unanswered(&["a", "b"]).await, 1);
    stage.ledger.begin(of("b")).await;
    assert_eq!(stage.unanswered(&["a", "b"]).await, 1);
    assert_eq!(stage.says(&by_name("b"), list(&[])).await, ["delete b"]);
    assert_eq!(
        stage.unanswered(&["a", "b"]).await,
        0,
        "that there is none is an answer"
    );
    stage.says(&WIDE, apply("b", "tls")).await;
    assert_eq!(stage.needs(&["a", "b"]).await, [""; 0]);
    stage.says(&WIDE, delete("a")).await;
    assert_eq!(stage.needs(&["a", "b"]).await, ["a"]);

    // Denied, what it had may go stale: named watches take over.
    stage.ledger.failed(&WIDE, &ApiError::Broken("x".to_owned())).await;
    assert_eq!(stage.needs(&["a", "b"]).await, ["a"], "only broken");
    stage.ledger.failed(&WIDE, &denied()).await;
    assert_eq!(stage.needs(&["a", "b"]).await, ["a", "b"]);
    assert_eq!(stage.says(&by_name("b"), apply("b", "tls")).await, ["apply b:tls"]);
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_a_trouble_until_it_is_over() {
    let mut stage = stage();
    stage.ledger.begin(of("a")).await;
    let away = ApiError::Unreachable("away".to_owned());
    stage.ledger.failed(&by_name("a"), &away).await;
    assert_eq!(stage.unanswered(&["a"]).await, 1);
    stage.ledger.failed(&by_name("a"), &denied()).await;
    assert_eq!(stage.unanswered(&["a"]).await, 0);
    assert_eq!(stage.ledger.troubles().await, [(of("a"), denied())].into());
    stage.says(&by_name("a"), apply("a", "Opaque")).await;
    assert!(stage.ledger.troubles().await.is_empty());
    stage.ledger.failed(&by_name("a"), &away).await;
    stage.ledger.recovered(&by_name("a")).await;
    assert!(stage.ledger.troubles().await.is_empty());
}
