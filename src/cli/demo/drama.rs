//! `demo --drama`: a bad day to look into, with a slow pod, a failing pod, pods that do not listen, and rules that are wrong.

use super::describe;
use anyhow::Context;
use http::StatusCode;
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Requests a second, where --traffic says nothing.
pub const TRAFFIC: u32 = 20;

/// Hosts that the traffic asks for beside those of the walkthrough. No rule names the last one.
pub const HOSTS: [&str; 4] = [
    "pay.example.com",
    "shop.example.com",
    "intranet.example.com",
    "ww.example.com",
];

/// How a pod answers.
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    Well,
    Slow,
    Failing,
}

impl Mood {
    /// Of each Service one pod is not well.
    pub fn of(pod: &str) -> Self {
        match pod {
            "deploy1-5d98f66655-pgrdl" => Mood::Slow,
            "deploy2-5ff54b6b7b-npnsh" => Mood::Failing,
            _ => Mood::Well,
        }
    }

    /// How long it takes for an answer.
    pub fn takes(self) -> Duration {
        match self {
            Mood::Slow => Duration::from_millis(400),
            Mood::Well | Mood::Failing => Duration::ZERO,
        }
    }

    /// What it answers with.
    pub fn status(self) -> StatusCode {
        match self {
            Mood::Failing => StatusCode::INTERNAL_SERVER_ERROR,
            Mood::Well | Mood::Slow => StatusCode::OK,
        }
    }
}

/// The pods of a Service that has started and does not listen. Their ports are theirs, so that nobody else answers there.
pub struct Deaf(#[expect(dead_code, reason = "held, so that nobody else gets their ports")] [Socket; 2]);

/// Adds the objects of the bad day to the walkthrough's.
///
/// # Errors
/// When there is no port for the pods.
pub fn prepare(manifests: &mut String) -> anyhow::Result<Deaf> {
    let bound = || -> std::io::Result<(Socket, SocketAddr)> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or_else(|| std::io::Error::other("a socket without an address"))?;
        Ok((socket, address))
    };
    let ((one, first), (other, second)) = (bound()?, bound().context("cannot bind a port on loopback")?);
    describe(
        manifests,
        "pay",
        &[("pay-7c9d8f-2xk4p", first), ("pay-7c9d8f-vq8mz", second)],
    )?;
    manifests.push_str(RULES);
    Ok(Deaf([one, other]))
}

/// The rule of shop.example.com names a Service that does not exist, and one of its paths is left out. The Ingress of
/// intranet.example.com is another controller's.
const RULES: &str = r"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: pay, namespace: default}
spec:
  rules:
  - host: pay.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: pay, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: default}
spec:
  rules:
  - host: shop.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: deploy-1, port: {number: 80}}}}
  - host: cart.example.com
    http:
      paths:
      - {path: cart, pathType: Prefix, backend: {service: {name: deploy1, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: intranet, namespace: default}
spec:
  ingressClassName: nginx
  rules:
  - host: intranet.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: deploy1, port: {number: 80}}}}
";

/// What there is to find.
pub fn welcome(program: &Path, admin: u16) -> String {
    let program = program.display();
    let ask = |url: &str| format!("  {program} explain {url} --admin http://localhost:{admin}\n");
    format!(
        "It is a bad day, and there is traffic. Find out what is wrong with each of these:\n\n{}{}{}{}{}{}\n\
         or watch the requests that fail, and what is slow:\n\n\
         \x20 {program} tap --status 5xx --admin http://localhost:{admin}\n\
         \x20 {program} tap --slower 200ms --admin http://localhost:{admin}\n\n",
        ask("http://www.yolo.org/"),
        ask("http://pay.example.com/"),
        ask("http://shop.example.com/"),
        ask("http://cart.example.com/cart"),
        ask("http://intranet.example.com/"),
        ask("http://ww.example.com/"),
    )
}
