use super::*;
use crate::compile::Options;
use crate::dialect::{Change, decode};
use crate::table::BackendState;
use serde_json::{Value, json};

const READY: Value = Value::Null;

/// A Service `web` that an Ingress uses, as a narthex sees it that can ask about nodes.
fn state() -> State {
    let mut state = State::new(Options {
        reads_nodes: true,
        local_endpoints: false,
        ..Options::default()
    });
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"namespace": "n", "name": "web"},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "n", "name": "web"},
        "spec": {"ports": [{"port": 80}]},
    });
    apply(&mut state, ingress);
    apply(&mut state, service);
    state
}

fn apply(state: &mut State, object: Value) {
    state.apply(Change::Apply(decode::from_value(object).unwrap().unwrap()));
}

/// Endpoints of `web`: the last part of the address, the node and the conditions of each.
fn endpoints(state: &mut State, all: &[(u8, &str, Value)]) {
    let endpoints = all.iter().map(|(last, node, conditions)| {
        json!({"addresses": [format!("10.0.0.{last}")], "nodeName": node, "conditions": conditions})
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": "n", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"port": 8080}], "endpoints": endpoints.collect::<Vec<_>>(),
    });
    apply(state, slice);
}

fn unready() -> Value {
    json!({"ready": false, "serving": false, "terminating": false})
}

fn draining() -> Value {
    json!({"ready": false, "serving": true, "terminating": true})
}

/// The state of the pods of `web`, and the last parts of their addresses.
fn in_use(state: &State) -> (BackendState, Vec<u8>) {
    let set = state.pods_of(&("n".into(), "web".into())).next().unwrap();
    let last = |address: std::net::SocketAddr| address.ip().to_string().rsplit('.').next().unwrap().parse().unwrap();
    (set.state, set.endpoints.iter().map(|one| last(one.address)).collect())
}

fn asked(state: &mut State) -> Vec<(String, usize)> {
    let wanted = state.wanted_nodes();
    wanted
        .into_iter()
        .map(|(node, count)| (node.to_string(), count))
        .collect()
}

fn answer(state: &mut State, name: &str, lost: bool) {
    state.apply(Change::Node {
        name: name.into(),
        lost,
    });
}

#[test]
fn pods_of_a_lost_node_stay_in_use_where_no_other_is_ready() {
    let mut state = state();
    endpoints(&mut state, &[(1, "a", READY), (2, "b", READY)]);
    assert_eq!(in_use(&state), (BackendState::Ready, vec![1, 2]));
    assert!(asked(&mut state).is_empty());
    endpoints(&mut state, &[(1, "a", unready()), (2, "b", READY)]);
    assert_eq!(in_use(&state), (BackendState::Ready, vec![2]));
    assert!(
        !state.wanted_nodes_changed(),
        "another one is ready, so nobody needs to know"
    );
    endpoints(&mut state, &[(1, "a", unready()), (2, "b", unready())]);
    assert!(state.wanted_nodes_changed());
    assert_eq!(asked(&mut state), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    assert_eq!(
        in_use(&state),
        (BackendState::ReadinessUnknown, vec![1, 2]),
        "until the answer is there"
    );
    answer(&mut state, "a", true);
    answer(&mut state, "b", false);
    assert_eq!(in_use(&state), (BackendState::ReadinessUnknown, vec![1]));
    answer(&mut state, "a", false);
    assert_eq!(in_use(&state), (BackendState::NoEndpoints, vec![]));
    endpoints(&mut state, &[(1, "a", READY), (2, "b", unready())]);
    assert_eq!(in_use(&state), (BackendState::Ready, vec![1]));
    assert!(asked(&mut state).is_empty());
}

#[test]
fn an_answer_about_a_node_does_not_outlast_the_question() {
    let mut state = state();
    endpoints(&mut state, &[(1, "a", READY)]);
    endpoints(&mut state, &[(1, "a", unready())]);
    answer(&mut state, "a", false);
    assert_eq!(in_use(&state), (BackendState::NoEndpoints, vec![]));
    endpoints(&mut state, &[(1, "a", READY)]);
    assert!(asked(&mut state).is_empty());
    endpoints(&mut state, &[(1, "a", unready())]);
    assert_eq!(in_use(&state), (BackendState::ReadinessUnknown, vec![1]));
    assert_eq!(asked(&mut state), [("a".to_owned(), 1)]);
}

#[test]
fn a_pod_that_was_never_ready_gets_no_request() {
    let mut state = state();
    endpoints(&mut state, &[(1, "a", unready())]);
    assert_eq!(in_use(&state), (BackendState::NoEndpoints, vec![]));
    endpoints(&mut state, &[(1, "a", READY)]);
    endpoints(&mut state, &[(1, "a", unready()), (2, "a", unready())]);
    assert_eq!(in_use(&state), (BackendState::ReadinessUnknown, vec![1]));
    assert_eq!(asked(&mut state), [("a".to_owned(), 1)]);
}

#[test]
fn pods_that_terminate_serve_beside_those_of_a_lost_node() {
    let mut state = state();
    endpoints(&mut state, &[(1, "a", READY), (2, "a", READY), (3, "a", READY)]);
    let terminated = json!({"ready": false, "serving": false, "terminating": true});
    endpoints(
        &mut state,
        &[(1, "a", unready()), (2, "a", draining()), (3, "a", terminated)],
    );
    assert_eq!(in_use(&state), (BackendState::ReadinessUnknown, vec![1, 2]));
    answer(&mut state, "a", false);
    assert_eq!(in_use(&state), (BackendState::OnlyTerminating, vec![2]));
}

#[test]
fn a_service_that_is_used_later_has_its_nodes_asked_about_then() {
    let mut state = state();
    state.apply(Change::Delete(crate::model::ObjectRef::new(
        crate::model::Kind::Ingress,
        "n",
        "web",
    )));
    endpoints(&mut state, &[(1, "a", READY)]);
    endpoints(&mut state, &[(1, "a", unready())]);
    let used = state.pods_of(&("n".into(), "web".into())).next().is_some();
    assert!(used || asked(&mut state).is_empty());
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"namespace": "n", "name": "web"},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
    });
    apply(&mut state, ingress);
    assert_eq!(asked(&mut state), [("a".to_owned(), 1)]);
}
