//! Real balancers before narthex that speak the PROXY protocol; who is not installed is skipped.

use crate::proxy_protocol::{GET, rig, stream};
use crate::rig::{Client, eventually};
use crate::tls_rig::{Tls, config, make};
use rustls::pki_types::ServerName;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// A program that stands before narthex, until dropped.
struct Balancer(Child);

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Balancer {
    fn start(command: &mut Command, at: SocketAddr) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let balancer = Self(child);
        eventually("the balancer listens", || TcpStream::connect(at).ok());
        balancer
    }
}

fn program(names: &[&str]) -> Option<String> {
    let found = names.iter().find(|name| Path::new(name).exists());
    if found.is_none() {
        eprintln!("skipped: none of {names:?} is here");
    }
    found.map(ToString::to_string)
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn curl_is_understood() {
    let Some(curl) = program(&["/usr/bin/curl"]) else {
        return;
    };
    let rig = rig("required", &[]);
    let out = Command::new(curl)
        .args(["-s", "--haproxy-protocol", "-H", "Host: a.test"])
        .arg(format!("http://{}/", rig.http))
        .output()
        .unwrap();
    assert_eq!(out.stdout, b"ok\n");
}

#[test]
fn haproxy_is_understood() {
    let Some(haproxy) = program(&["/usr/sbin/haproxy"]) else {
        return;
    };
    let made = make(&["a.test"]);
    let rig = rig("required", &[]);
    let pem = rig.folder.path().join(".pem");
    std::fs::write(&pem, made.certificate + &made.key).unwrap();
    for (spoken, tls) in [
        ("send-proxy", false),
        ("send-proxy-v2", false),
        ("send-proxy-v2-ssl", true),
    ] {
        let at = free_address();
        let ssl = if tls {
            format!("ssl crt {}", pem.display())
        } else {
            String::new()
        };
        let file = rig.folder.path().join(".haproxy");
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 9s\n timeout server 9s\n\
             listen all\n bind {at} {ssl}\n server narthex {} {spoken}\n",
            rig.http
        );
        std::fs::write(&file, text).unwrap();
        let _balancer = Balancer::start(Command::new(&haproxy).arg("-db").arg("-f").arg(&file), at);
        let tcp = stream("127.0.0.3", at);
        if tls {
            let name = ServerName::try_from("a.test").unwrap();
            let mut client = Tls::over(tcp, name, Arc::new(config(rustls::ALL_VERSIONS))).unwrap();
            assert_eq!(client.get("a.test", "/").0, 200);
        } else {
            assert_eq!(Client::over(tcp).send(GET).answer().status, 200, "{spoken}");
        }
        let got = rig.pod().last();
        assert_eq!(got.field("x-forwarded-for"), ["127.0.0.3"], "{spoken}");
        assert_eq!(got.field("x-forwarded-proto"), [if tls { "https" } else { "http" }]);
    }
}

/// Debian's `libnginx-mod-stream` has the module; NARTHEX_NGINX_STREAM names it elsewhere.
#[test]
fn nginx_is_understood() {
    let named = std::env::var("NARTHEX_NGINX_STREAM").unwrap_or_default();
    let Some(nginx) = program(&["/usr/sbin/nginx"]) else {
        return;
    };
    let module = [&named, "/usr/lib/nginx/modules/ngx_stream_module.so"];
    let Some(module) = program(&module) else { return };
    let rig = rig("required", &[]);
    let (folder, at) = (rig.folder.path().join(".nginx"), free_address());
    std::fs::create_dir(&folder).unwrap();
    let text = format!(
        "load_module {module};\ndaemon off;\nmaster_process off;\npid {0}/pid;\nerror_log {0}/error;\nevents {{}}\n\
         stream {{ server {{ listen {at}; proxy_pass {1}; proxy_protocol on; }} }}\n",
        folder.display(),
        rig.http
    );
    std::fs::write(folder.join("conf"), text).unwrap();
    let mut command = Command::new(nginx);
    let _balancer = Balancer::start(command.arg("-p").arg(&folder).arg("-c").arg(folder.join("conf")), at);
    let mut client = Client::over(stream("127.0.0.3", at));
    assert_eq!(client.send(GET).answer().status, 200);
    assert_eq!(rig.pod().last().field("x-forwarded-for"), ["127.0.0.3"]);
}
