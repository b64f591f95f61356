//! Active health checks: `narthex.io/health-…`.

use crate::rig::{Reply, Rig, eventually, ingress, service, service_with};
use crate::serving::serve_each;
use bytes::Bytes;
use http::{HeaderMap, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn asked(rig: &Rig, pod: usize) -> usize {
    let requests = rig.pods[pod].requests();
    requests.iter().filter(|got| got.line().starts_with("GET / ")).count()
}

/// Whether none of the next requests comes to a pod.
fn passed_over(rig: &Rig, pod: usize) -> bool {
    let before = asked(rig, pod);
    for _ in 0..6 {
        rig.client().send(GET).answer();
    }
    asked(rig, pod) == before
}

#[test]
fn a_pod_that_fails_its_check_gets_no_requests_until_it_passes_again() {
    let annotations = "narthex.io/health-path: \"/health?deep=1\", narthex.io/health-interval: 100ms, narthex.io/health-fall: \"2\", \
                       narthex.io/health-rise: \"1\", narthex.io/eject-after: \"0\"";
    let began = Instant::now();
    let rig = Rig::with(2, &["--shards", "8"], |pods| {
        service_with("web", pods, annotations) + &ingress("web", "a.test", "/", "web", "")
    });
    eventually("both are asked", || {
        rig.pods.iter().all(|pod| !pod.requests().is_empty()).then_some(())
    });
    let check = rig.pods[0].requests()[0].clone();
    assert_eq!(check.line(), "GET /health?deep=1 HTTP/1.1");
    assert!(check.field("user-agent")[0].starts_with("narthex-health/"));
    rig.pods[0].answers(Reply::text("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"));
    eventually("the first gets no requests", || passed_over(&rig, 0).then_some(()));
    rig.logged("fails its health check");
    rig.logged("it answered 404 Not Found");
    rig.pods[0].answers(Reply::text(
        "HTTP/1.1 302 Go\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
    ));
    eventually("it does again", || (!passed_over(&rig, 0)).then_some(()));
    // One that nobody answers at fails too, and where all fail, all are used.
    for pod in &rig.pods {
        pod.answers(Reply::text("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"));
    }
    eventually("both fail", || {
        (rig.log().matches("fails its health check").count() >= 3).then_some(())
    });
    assert_eq!(rig.client().send(GET).answer().status, 500);
    // Once for the whole process, and not for each shard: with room for the first question and the jitter.
    let checks = rig.pods[1].requests().len() - asked(&rig, 1);
    let most = began.elapsed().as_millis() / 90 + 2;
    assert!(checks as u128 <= most, "{checks} checks, {most} at most");
}

/// A pod that answers grpc.health.v1.Health/Check, and everything else with an empty message.
fn grpc_pod(serving: Arc<AtomicBool>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    serve_each(listener, move |stream| {
        let serving = serving.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut reply))) = connection.accept().await {
                let health = request.uri().path() == "/grpc.health.v1.Health/Check";
                let state = if serving.load(Ordering::SeqCst) { 1 } else { 2 };
                let message: &[u8] = if health { &[0, 0, 0, 0, 2, 8, state] } else { &[0; 5] };
                let head = Response::builder().header("content-type", "application/grpc");
                let mut body = reply.send_response(head.body(()).unwrap(), false).unwrap();
                body.send_data(Bytes::copy_from_slice(message), false).unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                body.send_trailers(trailers).unwrap();
            }
        }
    });
    address
}

#[test]
fn grpc_pods_are_asked_in_their_own_words() {
    let serving = Arc::new(AtomicBool::new(true));
    let address = grpc_pod(serving.clone());
    let annotations = "annotations: {narthex.io/backend-protocol: GRPC, narthex.io/health-protocol: grpc, narthex.io/health-interval: 100ms, \
                       narthex.io/health-fall: \"1\", narthex.io/health-rise: \"1\"}";
    let rig = Rig::with(0, &[], |_| {
        service("web", &[(address, "p0")]) + &ingress("web", "a.test", "/", "web", &format!(", {annotations}"))
    });
    assert_eq!(rig.client().send(GET).answer().status, 200);
    serving.store(false, Ordering::SeqCst);
    rig.logged("it says that it does not serve");
    serving.store(true, Ordering::SeqCst);
    rig.logged("passes its health check again");
}

#[test]
fn a_pod_that_takes_too_long_for_its_check_fails_it() {
    let annotations = "narthex.io/health-path: /health, narthex.io/health-interval: 100ms, narthex.io/health-timeout: 50ms, \
                       narthex.io/health-fall: \"1\"";
    let rig = Rig::with(2, &[], |pods| {
        service_with("web", pods, annotations) + &ingress("web", "a.test", "/", "web", "")
    });
    rig.pods[0].takes(std::time::Duration::from_millis(300));
    rig.logged("it did not answer within 50ms");
    assert!(passed_over(&rig, 0));
}
