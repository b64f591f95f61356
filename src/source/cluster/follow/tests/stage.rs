//! An API server that answers from a script, and a follower before it.

use super::super::*;
use crate::source::Phase;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Frame;
use kube::client::Body;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How an answer ends once its text is sent.
pub(super) enum End {
    Now,
    /// When the server would end the watch.
    After(u64),
    Never,
    Reset,
}

pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) text: String,
    pub(super) end: End,
}

pub(super) fn reply(code: u16, text: impl Into<String>, end: End) -> Reply {
    Reply {
        code,
        headers: vec![],
        text: text.into(),
        end,
    }
}

pub(super) fn page(version: &str, next: &str, items: Vec<Value>) -> Reply {
    let list = json!({"metadata": {"resourceVersion": version, "continue": next}, "items": items});
    reply(200, list.to_string(), End::Now)
}

pub(super) fn list(version: &str, items: Vec<Value>) -> Reply {
    page(version, "", items)
}

pub(super) fn refusal(code: u16) -> Reply {
    reply(
        code,
        json!({"kind": "Status", "code": code, "message": "no"}).to_string(),
        End::Now,
    )
}

pub(super) fn events(events: &[(&str, Value)], end: End) -> Reply {
    let line = |(kind, object): &(&str, Value)| format!("{}\n", json!({"type": kind, "object": object}));
    reply(200, events.iter().map(line).collect::<String>(), end)
}

pub(super) fn service(name: &str, version: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "n", "resourceVersion": version},
        "spec": {"ports": [{"port": 80}]},
    })
}

pub(super) fn bookmark(version: &str) -> Value {
    json!({"kind": "Service", "metadata": {"resourceVersion": version}})
}

pub(super) type AnyBody = UnsyncBoxBody<Bytes, std::io::Error>;

pub(super) fn answer(reply: Reply) -> Response<AnyBody> {
    let Reply {
        code,
        headers,
        text,
        end,
    } = reply;
    let mut response = Response::builder().status(code);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from(text)))]);
    let rest = futures_util::stream::unfold(Some(end), |end| async move {
        match end? {
            End::Now => None,
            End::After(seconds) => {
                sleep(Duration::from_secs(seconds)).await;
                None
            }
            End::Never => std::future::pending().await,
            End::Reset => Some((Err(std::io::Error::other("connection reset")), None)),
        }
    });
    let body = StreamBody::new(futures_util::StreamExt::chain(first, rest));
    response.body(body.boxed_unsync()).unwrap()
}

/// A follower whose requests are answered from a script; when that ends, no more answers come.
pub(super) struct Stage {
    pub(super) requests: Arc<Mutex<Vec<String>>>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) watches: Arc<Watches>,
    pub(super) follower: JoinHandle<Ended>,
    pub(super) began: Instant,
}

pub(super) const SERVICES: &[&str] = &["v1"];

pub(super) fn stage(script: Vec<Reply>) -> Stage {
    stage_of(Kind::Service, SERVICES, Some(Duration::from_secs(300)), script)
}

pub(super) fn stage_of(
    kind: Kind,
    api_versions: &'static [&'static str],
    patience: Option<Duration>,
    script: Vec<Reply>,
) -> Stage {
    stage_for(kind, api_versions, patience, None, script)
}

/// Of one Secret alone.
pub(super) fn stage_of_secret(ledger: Arc<Ledger>, name: &str, script: Vec<Reply>) -> Stage {
    let voice = Voice::Named(("n".into(), name.into()));
    let patience = Some(Duration::from_secs(300));
    stage_for(Kind::Secret, SERVICES, patience, Some((ledger, voice)), script)
}

fn stage_for(
    kind: Kind,
    api_versions: &'static [&'static str],
    patience: Option<Duration>,
    secrets: Option<(Arc<Ledger>, Voice)>,
    script: Vec<Reply>,
) -> Stage {
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let script = Arc::new(Mutex::new(VecDeque::from(script)));
    let log = requests.clone();
    let server = tower::service_fn(move |request: Request<Body>| {
        log.lock().unwrap().push(request.uri().to_string());
        let reply = script.lock().unwrap().pop_front();
        async move {
            match reply {
                Some(Reply { code: 0, text, .. }) => Err(std::io::Error::other(text)),
                Some(reply) => Ok(answer(reply)),
                None => std::future::pending().await,
            }
        }
    });
    let client = kube::Client::new(server, "default");
    let (sender, events) = mpsc::channel(100);
    let watches = Arc::<Watches>::default();
    watches.register("it", true);
    let mut follower = Follower::new(Order {
        client,
        sender,
        watches: watches.clone(),
        timing: Timing::default(),
        kind,
        namespace: secrets.is_some().then(|| "n".to_owned()),
        api_versions,
        name: "it".to_owned(),
        patience,
        secrets,
    });
    let follower = tokio::spawn(async move { follower.run().await });
    Stage {
        requests,
        events,
        watches,
        follower,
        began: Instant::now(),
    }
}

impl Stage {
    /// The next events, in short.
    pub(super) async fn said(&mut self, count: usize) -> Vec<String> {
        let mut said = vec![];
        while said.len() < count {
            said.push(match self.events.recv().await.unwrap() {
                Event::Synced(name) => format!("synced {name}"),
                Event::Change(Change::Apply(object)) => format!("apply {}", object.meta().name),
                Event::Change(Change::Delete(object)) => format!("delete {}", object.name),
                Event::Change(Change::Broken(broken)) => format!("broken {broken}"),
                Event::Change(Change::Replace { objects, broken, .. }) => {
                    let names: Vec<_> = objects.iter().map(|object| object.meta().name.to_string()).collect();
                    let broken: Vec<_> = broken.iter().map(|broken| format!(" broken {broken}")).collect();
                    format!("replace {}{}", names.join(" "), broken.concat())
                }
                other => panic!("{other:?}"),
            });
        }
        said
    }

    /// The requests so far, once there are that many: `list`, `list 1` (a comparison), `watch 5`.
    pub(super) async fn asked(&self, count: usize) -> Vec<String> {
        while self.requests.lock().unwrap().len() < count {
            sleep(Duration::from_millis(50)).await;
        }
        let short = |uri: &String| {
            let value = |key: &str| {
                let query = uri.split_once('?').map_or("", |(_, query)| query);
                query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
                    .map(str::to_owned)
            };
            match (value("watch"), value("limit").as_deref(), value("continue")) {
                (Some(_), ..) => format!("watch {}", value("resourceVersion").unwrap()),
                (None, Some("1"), _) => "compare".to_owned(),
                (None, _, Some(next)) => format!("list {next}"),
                (None, ..) => "list".to_owned(),
            }
        };
        self.requests.lock().unwrap().iter().map(short).collect()
    }

    pub(super) fn failing(&self) -> Option<String> {
        match &self.watches.snapshot()["it"].phase {
            Phase::Failing(why) => Some(why.clone()),
            _ => None,
        }
    }
}
