//! Trace context on its way to pods, and a collector that is not there. What a collector gets is tested with one:
//! tests/peers/otlp.py.

use crate::rig::{Rig, eventually};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// What the pod is told, of a request with these fields.
fn told(rig: &Rig, fields: &str) -> (Vec<String>, Vec<String>) {
    let before = rig.pod().requests().len();
    let mut client = rig.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
    assert_eq!(client.answer().status, 200);
    let got = rig.pod().requests().remove(before);
    (got.field("traceparent"), got.field("tracestate"))
}

fn given() -> String {
    format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\ntracestate: a=1,b=2\r\n")
}

#[test]
fn trace_context_passes_unchanged_where_nothing_is_traced() {
    // A client's wish to be traced is no order.
    for flags in [
        &[][..],
        &["--otlp-endpoint", "http://127.0.0.1:1", "--otlp-sample", "0"],
    ] {
        let rig = Rig::new(1, flags);
        let same = (
            vec![format!("00-{TRACE}-b7ad6b7169203331-01")],
            vec!["a=1,b=2".to_owned()],
        );
        assert_eq!(told(&rig, &given()), same, "{flags:?}");
        let odd = told(&rig, "traceparent: what\r\ntracestate: a=1\r\n");
        assert_eq!(odd, (vec!["what".to_owned()], vec!["a=1".to_owned()]));
        assert_eq!(told(&rig, ""), (Vec::new(), Vec::new()));
    }
}

#[test]
fn who_is_trusted_decides_and_a_collector_that_is_gone_costs_only_spans() {
    let flags = [
        "--otlp-endpoint",
        "http://127.0.0.1:1",
        "--otlp-sample",
        "0",
        "--trusted-proxies",
        "127.0.0.1",
    ];
    let rig = Rig::new(1, &flags);
    let (parents, states) = told(&rig, &given());
    let [parent] = &parents[..] else { panic!("{parents:?}") };
    assert!(
        parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"),
        "{parent}"
    );
    assert!(!parent.contains("b7ad6b7169203331"), "a span of our own: {parent}");
    assert_eq!(states, ["a=1,b=2"]);
    eventually("it is counted", || {
        (rig.counter("spans_dropped_total") == 1).then_some(())
    });
    rig.logged("traces cannot be exported");
    let unwanted = given().replace("-01", "-00");
    assert_eq!(told(&rig, &unwanted).0, [format!("00-{TRACE}-b7ad6b7169203331-00")]);
}
