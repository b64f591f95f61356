//! A simulated data plane: the tasks that serve clients run against clients and pods made up here, over byte streams and a
//! time that are simulated too.

mod allocations;
mod process;

use crate::table::BackendSettings;
use crate::upstream::simulated::{Network, set_pods};
use arc_swap::ArcSwap;
use process::{PodsOfRoute, Process, pod_at, table};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};

#[test]
fn a_request_is_answered() {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .unwrap();
    fastrand::seed(1);
    runtime.block_on(async {
        let network = Network::new(1, false, true);
        tokio::task::spawn_local(network.clone().run());
        let routes = [
            PodsOfRoute {
                pods: vec![0, 1],
                generation: 1,
            },
            PodsOfRoute {
                pods: vec![2],
                generation: 1,
            },
        ];
        let settings = [
            Arc::new(BackendSettings::default()),
            Arc::new(BackendSettings::default()),
        ];
        let tables = Arc::new(ArcSwap::from_pointee(table(1, &routes, &settings)));
        let process = Process::start(&tables, false);
        let pods = network.clone();
        set_pods(Some(Rc::new(move |address: SocketAddr| {
            let pods = pods.clone();
            Box::pin(async move {
                let (pod, end) = pods.connect(format!("pod-{}", pod_at(address)), true);
                tokio::task::spawn_local(async move {
                    let mut bytes = [0; 1000];
                    let mut got = Vec::new();
                    while !got.ends_with(b"\r\n\r\n") {
                        let count = pod.take(&mut bytes).await.unwrap();
                        got.extend_from_slice(&bytes[..count]);
                    }
                    pod.give(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
                        .await
                        .unwrap();
                    pod.take(&mut bytes).await.unwrap();
                });
                io::Result::Ok(end)
            })
        })));
        let (client, narthex) = network.connect("client-0".to_owned(), false);
        process.accept(narthex, SocketAddr::from(([192, 0, 2, 1], 1000)));
        client.give(b"GET /a/1 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut got = Vec::new();
        let mut bytes = [0; 1000];
        while !got.ends_with(b"hello") {
            let count = client.take(&mut bytes).await.unwrap();
            got.extend_from_slice(&bytes[..count]);
        }
        drop(client);
        let next = table(2, &[PodsOfRoute::default(), routes[1].clone()], &settings);
        tables.store(Arc::new(next));
        process.table_changed(&tables.load());
        process.drain(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let history = network.take_log().join("\n");
        assert_eq!(process.holds(&tables.load()), Vec::<String>::new(), "{history}");
        assert!(process.stop().await, "{history}");
        assert_eq!(network.held(), 0, "{history}");
    });
}
