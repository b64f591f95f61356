//! By which addresses clients reach this narthex and its peers.

use super::api::{Api, Failed};
use super::desired::Address;
use crate::peers::{self, AnswerBudget};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How long a peer may take to say that it is ready.
const PEER_TIME: Duration = Duration::from_secs(1);
/// Answers missed in a row after which a peer counts as gone: its node's pods stay Ready for much longer.
const MISSES: u32 = 3;
/// How long a node's addresses are remembered.
const NODE_TIME: Duration = Duration::from_secs(60);

/// Where addresses come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// `--publish-address`.
    Given(BTreeSet<Address>),
    /// `--publish-service`: namespace and name.
    Service(String, String),
    /// The nodes whose narthex is ready.
    Nodes {
        /// `--publish-hostnames`: by their names.
        by_name: bool,
    },
}

/// Which pods are narthexes.
#[derive(Clone, Debug)]
pub struct OwnPods {
    pub namespace: String,
    /// Their labels.
    pub selector: String,
    /// The pod this process is in.
    pub own: String,
    /// The addresses of peers; absent if they cannot be asked.
    pub admin_port: Option<u16>,
}

/// Finds the addresses, again and again.
pub struct Finder {
    api: Api,
    source: Source,
    pods: OwnPods,
    nodes: HashMap<String, (Instant, Option<Address>)>,
    misses: HashMap<String, u32>,
    /// Peers that answered the last time.
    peers: Vec<SocketAddr>,
}

/// A pod of ours that is ready.
struct Pod {
    name: String,
    node: String,
    ip: Option<IpAddr>,
}

impl Finder {
    pub fn new(api: Api, source: Source, pods: OwnPods) -> Self {
        Self {
            api,
            source,
            pods,
            nodes: HashMap::new(),
            misses: HashMap::new(),
            peers: Vec::new(),
        }
    }

    /// The admin addresses of peers that answered.
    pub fn peers(&self) -> &[SocketAddr] {
        &self.peers
    }

    /// The current addresses; absent if they are not known, and then the status stays as it is.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn find(&mut self) -> Result<Option<BTreeSet<Address>>, Failed> {
        match self.source.clone() {
            Source::Given(addresses) => {
                self.look_for_peers().await;
                Ok(Some(addresses))
            }
            Source::Service(namespace, name) => {
                let path = format!("/api/v1/namespaces/{namespace}/services/{name}");
                let addresses = of_service(&self.api.get(&path).await?);
                self.look_for_peers().await;
                Ok(Some(addresses))
            }
            Source::Nodes { by_name } => {
                let pods = self.ready_pods().await?;
                self.of_pods(pods, by_name).await
            }
        }
    }

    async fn ready_pods(&self) -> Result<Vec<Pod>, Failed> {
        let selector = self.pods.selector.replace('=', "%3D").replace(',', "%2C");
        let namespace = &self.pods.namespace;
        let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}");
        Ok(ready_pods(&self.api.get(&path).await?))
    }

    /// Addresses that lead to any of the peers say nothing of them; but no Ingress is to be announced before all have it.
    async fn look_for_peers(&mut self) {
        match self.ready_pods().await {
            Ok(pods) if pods.iter().any(|pod| pod.name == self.pods.own) => {
                self.ask_peers(&pods).await;
            }
            Ok(_) => self.peers.clear(),
            Err(error) => {
                tracing::debug!(%error, "peers cannot be found");
                self.peers.clear();
            }
        }
    }

    /// Asks the peers among these whether they are ready. False if there are some, and none answers.
    async fn ask_peers(&mut self, pods: &[Pod]) -> bool {
        let peers = pods.iter().filter(|pod| pod.name != self.pods.own);
        let port = self.pods.admin_port;
        let targets = peers.filter_map(|pod| Some((pod.name.clone(), SocketAddr::new(pod.ip?, port?))));
        let targets: Vec<_> = targets.collect();
        let answers = futures_util::future::join_all(targets.iter().map(|(_, address)| is_ready(*address))).await;
        if !answers.is_empty() && answers.iter().all(|answer| !answer) {
            return false;
        }
        self.misses
            .retain(|name, _| targets.iter().any(|(other, _)| other == name));
        self.peers.clear();
        for ((name, address), answered) in targets.into_iter().zip(answers) {
            let misses = self.misses.entry(name).or_default();
            *misses = if answered { 0 } else { *misses + 1 };
            if answered {
                self.peers.push(address);
            }
        }
        true
    }

    async fn of_pods(&mut self, pods: Vec<Pod>, by_name: bool) -> Result<Option<BTreeSet<Address>>, Failed> {
        // Who is not among them runs elsewhere, for a trial perhaps, and knows nothing of addresses. And who reaches nobody
        // is more likely to be cut off than to be the last one left.
        if !pods.iter().any(|pod| pod.name == self.pods.own) || !self.ask_peers(&pods).await {
            return Ok(None);
        }
        let mut addresses = BTreeSet::new();
        for pod in pods {
            if self.misses.get(&pod.name).is_none_or(|misses| *misses < MISSES) {
                addresses.extend(self.of_node(&pod, by_name).await);
            }
        }
        Ok(Some(addresses))
    }

    /// A node's address; where nodes may not be read, the one its pods have on the host's network.
    async fn of_node(&mut self, pod: &Pod, by_name: bool) -> Option<Address> {
        if let Some((at, address)) = self.nodes.get(&pod.node)
            && at.elapsed() < NODE_TIME
        {
            return address.clone();
        }
        let node = self.api.get(&format!("/api/v1/nodes/{}", pod.node)).await;
        let address = node.ok().and_then(|node| of_node(&node, by_name));
        let address = address.or_else(|| pod.ip.map(Address::Ip));
        self.nodes.insert(pod.node.clone(), (Instant::now(), address.clone()));
        address
    }
}

/// `ExternalIP`, else `InternalIP`; by name `ExternalDNS`, else `Hostname` (Kubernetes docs, "Nodes", "Addresses").
fn of_node(node: &Value, by_name: bool) -> Option<Address> {
    let listed = node.pointer("/status/addresses")?.as_array()?;
    let by_type: BTreeMap<&str, &str> = listed
        .iter()
        .rev()
        .filter_map(|entry| Some((entry["type"].as_str()?, entry["address"].as_str()?)))
        .collect();
    let wanted = if by_name {
        ["ExternalDNS", "Hostname"]
    } else {
        ["ExternalIP", "InternalIP"]
    };
    let address = wanted.iter().find_map(|wanted| by_type.get(wanted))?;
    Some(Address::new(address))
}

/// What a Service of type LoadBalancer got, and its `externalIPs`.
fn of_service(service: &Value) -> BTreeSet<Address> {
    let entries = service
        .pointer("/status/loadBalancer/ingress")
        .and_then(Value::as_array);
    let got = entries.into_iter().flatten().filter_map(|entry| {
        let text = entry["ip"].as_str().or_else(|| entry["hostname"].as_str())?;
        Some(Address::new(text))
    });
    let external = service.pointer("/spec/externalIPs").and_then(Value::as_array);
    let external = external
        .into_iter()
        .flatten()
        .filter_map(|ip| ip.as_str().map(Address::new));
    got.chain(external).collect()
}

fn ready_pods(list: &Value) -> Vec<Pod> {
    let items = list["items"].as_array();
    let ready = items.into_iter().flatten().filter(|pod| {
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        pod["metadata"]["deletionTimestamp"].is_null() && conditions.is_some_and(|all| all.iter().any(is_ready))
    });
    let pods = ready.filter_map(|pod| {
        Some(Pod {
            name: pod["metadata"]["name"].as_str()?.to_owned(),
            node: pod["spec"]["nodeName"].as_str()?.to_owned(),
            ip: pod["status"]["hostIP"].as_str().and_then(|ip| ip.parse().ok()),
        })
    });
    pods.collect()
}

/// Whether a narthex answers there that it is ready.
async fn is_ready(address: SocketAddr) -> bool {
    ask(address, "/readyz").await.is_some_and(|(status, _)| status == 200)
}

/// A question to a peer's admin side, and its answer: status and body.
pub async fn ask(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let (address, room) = (address.to_string(), AnswerBudget::new(1 << 20));
    let asking = peers::ask(&address, path, None, &room);
    let answer = tokio::time::timeout(PEER_TIME, asking).await.ok()?.ok()?;
    Some((
        answer.status.as_u16(),
        String::from_utf8_lossy(&answer.body).into_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Response;
    use http_body_util::Full;
    use kube::client::Body;
    use serde_json::json;
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn pods_count_when_they_are_ready_and_stay() {
        let pod = |name: &str, ready: &str, deleted: bool| {
            let deleted = deleted.then_some("2026-01-01T00:00:00Z");
            json!({
                "metadata": {"name": name, "deletionTimestamp": deleted}, "spec": {"nodeName": name},
                "status": {"hostIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": ready}]},
            })
        };
        let pods = [
            pod("a", "True", false),
            pod("b", "False", false),
            pod("c", "True", true),
        ];
        let ready = ready_pods(&json!({"items": pods}));
        assert_eq!(ready.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_nodes_external_address_comes_before_its_internal_one() {
        let node = json!({"status": {"addresses": [
            {"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "n"},
            {"type": "ExternalIP", "address": "203.0.113.1"}, {"type": "ExternalIP", "address": "2001:db8::1"},
        ]}});
        assert_eq!(of_node(&node, false), Some(Address::new("203.0.113.1")));
        let inner = json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
        assert_eq!(of_node(&inner, false), Some(Address::new("10.0.0.1")));
        assert_eq!(of_node(&json!({}), false), None);
        let named = json!({"status": {"addresses": [
            {"type": "Hostname", "address": "node1"}, {"type": "ExternalDNS", "address": "node1.example.com"},
        ]}});
        assert_eq!(of_node(&named, true), Some(Address::new("node1.example.com")));
        assert_eq!(of_node(&named, false), None);
    }

    #[tokio::test]
    async fn peers_are_known_wherever_the_addresses_come_from() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(reply).await.unwrap();
            }
        });
        let pod = |name: &str| {
            json!({
                "metadata": {"name": name}, "spec": {"nodeName": name},
                "status": {"hostIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
            })
        };
        let pods = json!({"items": [pod("own"), pod("other")]}).to_string();
        let server = tower::service_fn(move |_: http::Request<Body>| {
            let pods = pods.clone();
            async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(pods)))) }
        });
        let published = Address::new("192.0.2.7");
        let own = |name: &str| OwnPods {
            namespace: "home".to_owned(),
            selector: "app=narthex".to_owned(),
            own: name.to_owned(),
            admin_port: Some(peer.port()),
        };
        for (name, peers) in [("own", vec![peer]), ("elsewhere", vec![])] {
            let api = Api::new(kube::Client::new(server.clone(), "home"));
            let mut finder = Finder::new(api, Source::Given(BTreeSet::from([published.clone()])), own(name));
            let found = finder.find().await.unwrap().unwrap();
            assert_eq!(found, BTreeSet::from([published.clone()]));
            assert_eq!(finder.peers(), peers);
        }
    }

    #[test]
    fn a_service_shows_what_it_got() {
        let service = json!({
            "spec": {"externalIPs": ["198.51.100.7"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}, {"hostname": "lb.example.com"}]}},
        });
        let shown = of_service(&service);
        assert_eq!(shown.len(), 3);
        assert!(shown.contains(&Address::new("lb.example.com")));
    }
}
