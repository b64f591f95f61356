//! `narthex demo`: the walkthrough with no cluster at all.

mod drama;

use super::{print, serve};
use crate::config::{Listen, ListenAddress, ServeArgs};
use crate::telemetry::access::Format;
use anyhow::Context;
use clap::{Args, Parser};
use drama::Mood;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Response, server::conn::http1};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Names as the walkthrough's cluster gave them.
const PODS: [(&str, [&str; 3]); 2] = [
    (
        "deploy1",
        [
            "deploy1-5d98f66655-d8np4",
            "deploy1-5d98f66655-gqgdq",
            "deploy1-5d98f66655-pgrdl",
        ],
    ),
    (
        "deploy2",
        [
            "deploy2-5ff54b6b7b-94kbj",
            "deploy2-5ff54b6b7b-npnsh",
            "deploy2-5ff54b6b7b-z7fgp",
        ],
    ),
];

/// Flags of `demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Address to listen on for HTTP; :8000 means all addresses
    #[arg(
        long,
        env = "NARTHEX_LISTEN_HTTP",
        value_name = "ADDR",
        default_value = "localhost:8000"
    )]
    pub listen_http: ListenAddress,
    /// Address to listen on for HTTPS, with a certificate created at start
    #[arg(
        long,
        env = "NARTHEX_LISTEN_HTTPS",
        value_name = "ADDR",
        default_value = "localhost:8443"
    )]
    pub listen_https: Listen,
    /// Address of the admin API, the dashboard, metrics and probes
    #[arg(long, env = "NARTHEX_ADMIN", value_name = "ADDR", default_value = "localhost:8080")]
    pub admin: ListenAddress,
    /// Number of threads that serve requests; 0 means one per processor
    #[arg(long, env = "NARTHEX_SHARDS", value_name = "N", default_value_t = 0)]
    pub shards: usize,
    /// Log each request: off, json, combined (as in nginx) or traefik
    #[arg(
        long,
        env = "NARTHEX_ACCESS_LOG",
        value_name = "FORMAT",
        value_enum,
        default_value = "traefik",
        hide_possible_values = true
    )]
    pub access_log: Format,
    /// Send this many requests per second through narthex, to have traffic to look at
    #[arg(long, value_name = "RATE", default_value_t = 0)]
    pub traffic: u32,
    /// Add what goes wrong on a bad day, to look into it: a slow pod, a failing pod, pods that do not listen, wrong rules, and traffic
    #[arg(long)]
    pub drama: bool,
}

/// Starts six little pods on loopback, writes the walkthrough's objects for them, and serves.
///
/// # Errors
/// When pods or narthex cannot start.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    serve::run_prepared(true, || prepare(args))
}

fn prepare(args: &DemoArgs) -> anyhow::Result<(ServeArgs, Kept)> {
    let folder = Folder::new().context("cannot make a folder for the demo's manifests")?;
    let mut manifests = String::new();
    let mut pods = Vec::new();
    for (service, names) in PODS {
        let mut addresses = Vec::new();
        for name in names {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot start a pod on loopback")?;
            addresses.push((name, listener.local_addr()?));
            pods.push((name, listener));
        }
        describe(&mut manifests, service, &addresses)?;
    }
    manifests.push_str(RULE);
    let deaf = if args.drama {
        manifests.push_str("---\n");
        Some(drama::prepare(&mut manifests)?)
    } else {
        None
    };
    std::fs::write(folder.0.join("walkthrough.yaml"), manifests).context("cannot write the demo's manifests")?;
    std::thread::Builder::new().name("pods".to_owned()).spawn({
        let drama = args.drama;
        move || serve_pods(pods, drama)
    })?;
    let port = args.listen_http.0.port();
    let (mut rate, mut hosts) = (args.traffic, vec!["www.example.com", "www.yolo.org"]);
    if args.drama {
        rate = if rate == 0 { drama::TRAFFIC } else { rate };
        hosts.extend(drama::HOSTS);
    }
    if rate > 0 {
        std::thread::Builder::new()
            .name("traffic".to_owned())
            .spawn(move || send_traffic(port, rate, &hosts))?;
    }
    print(&welcome(&folder.0, port, args.admin.0.port()));
    if args.drama {
        print(&drama::welcome(&program(), args.admin.0.port()));
    }
    Ok((
        serve_args(args, &folder.0),
        Kept {
            _folder: folder,
            _deaf: deaf,
        },
    ))
}

/// What the demo holds until it ends.
struct Kept {
    _folder: Folder,
    _deaf: Option<drama::Deaf>,
}

/// This program, as it was called.
fn program() -> PathBuf {
    std::env::args_os()
        .next()
        .map_or_else(|| "narthex".into(), PathBuf::from)
}

/// The folder of the demo's manifests, gone when the demo ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("narthex-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The flags `serve` would have been given. Parsed without arguments, so that all others have their defaults.
fn serve_args(args: &DemoArgs, folder: &Path) -> ServeArgs {
    let mut serve = super::Cli::parse_from(["narthex"]).serve;
    serve.source.manifests = vec![folder.to_path_buf()];
    serve.source.kubeconfig = None;
    serve.listen.listen_http = Some(Listen::At(args.listen_http));
    serve.listen.listen_https = Some(args.listen_https);
    serve.listen.admin = args.admin;
    serve.listen.probe_socket = None;
    serve.listen.shards = args.shards;
    serve.access.access_log = args.access_log;
    serve
}

fn describe(out: &mut String, service: &str, pods: &[(&str, SocketAddr)]) -> std::fmt::Result {
    write!(
        out,
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {service}, namespace: default}}\nspec:\n  \
         selector: {{app: {service}}}\n  ports: [{{port: 80, targetPort: 80}}]\n---\n"
    )?;
    for (index, (pod, address)) in pods.iter().enumerate() {
        write!(
            out,
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-{index}\n  \
             namespace: default\n  labels: {{kubernetes.io/service-name: {service}}}\naddressType: IPv4\n\
             ports: [{{port: {}, protocol: TCP}}]\nendpoints:\n- addresses: [\"{}\"]\n  \
             conditions: {{ready: true}}\n  targetRef: {{kind: Pod, name: {pod}, namespace: default, uid: {pod}}}\n---\n",
            address.port(),
            address.ip()
        )?;
    }
    Ok(())
}

/// The walkthrough's rule, in today's version.
const RULE: &str = r"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: ingress-test, namespace: default}
spec:
  rules:
  - host: www.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: deploy1, port: {number: 80}}}}
  - host: www.yolo.org
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: deploy2, port: {number: 80}}}}
";

fn welcome(folder: &Path, http: u16, admin: u16) -> String {
    let program = program();
    format!(
        "Two Services with three pods each, and the walkthrough's rule, in {}\n\
         (edit it: a change is live at once). In another terminal:\n\n\
         \x20 curl -H 'Host: www.example.com' localhost:{http}     # deploy1's pods in turn\n\
         \x20 curl -H 'Host: www.yolo.org' localhost:{http}        # deploy2's\n\
         \x20 curl -H 'Host: www.nobody.org' localhost:{http}      # 404 page not found\n\
         \x20 {program} explain http://www.example.com/ --admin http://localhost:{admin}\n\
         \x20 curl localhost:{admin}/readyz\n\n\
         The dashboard is at http://localhost:{admin}/dashboard/. Ctrl-C ends it.\n\n",
        folder.display(),
        program = program.display()
    )
}

/// Answers on every listener with the pod's name.
fn serve_pods(pods: Vec<(&'static str, TcpListener)>, drama: bool) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (name, listener) in pods {
            let mood = if drama { Mood::of(name) } else { Mood::Well };
            tasks.spawn(serve_pod(name, mood, listener));
        }
        while tasks.join_next().await.is_some() {}
    });
}

async fn serve_pod(name: &'static str, mood: Mood, listener: TcpListener) {
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(async move {
            let answer = service_fn(move |_| async move {
                if !mood.takes().is_zero() {
                    tokio::time::sleep(mood.takes()).await;
                }
                let mut reply = Response::new(Full::new(Bytes::from(format!("{name}\n"))));
                *reply.status_mut() = mood.status();
                Ok::<_, Infallible>(reply)
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

/// A steady trickle of requests to all hosts in turn, one connection each.
fn send_traffic(port: u16, rate: u32, hosts: &[&str]) {
    let pause = std::time::Duration::from_secs(1) / rate;
    for host in hosts.iter().cycle() {
        std::thread::sleep(pause);
        let Ok(mut stream) = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
            continue;
        };
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        if io::Write::write_all(&mut stream, request.as_bytes()).is_ok() {
            let _ = io::copy(&mut stream, &mut io::sink());
        }
    }
}
