//! Commands that ask a running narthex: `routes`, and `top` on a terminal of its own.

use crate::admin::ask;
use crate::rig::{Rig, eventually, ingress, service};
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

fn rig() -> Rig {
    Rig::with(2, &[], |pods| {
        service("web", &[(pods[0].address, "p0"), (pods[1].address, "p1")])
            + &ingress("web", "a.test", "/", "web", "")
            + &ingress("api", "a.test", "/api", "web", "")
            + &ingress("gone", "gone.test", "/", "nowhere", "")
    })
}

fn narthex(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn routes_are_printed_with_what_passes() {
    let rig = rig();
    let admin = rig.admin.to_string();
    for _ in 0..4 {
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
    let text = eventually("the requests are counted", || {
        let said = narthex(&["routes", "--admin", &admin, "--pods"]);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let text = String::from_utf8(said.stdout).unwrap();
        text.lines()
            .any(|line| line.split_whitespace().nth(7) == Some("4"))
            .then_some(text)
    });
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("STATUS  HOST") && lines[0].ends_with("INGRESS"),
        "{text}"
    );
    assert_eq!(lines.len(), 4 + 4, "three routes, two of them with two pods:\n{text}");
    assert!(
        lines[1].starts_with("ok      a.test") && lines[1].contains("default/web:80"),
        "{text}"
    );
    assert!(
        lines[2].contains("  127.0.0.1:") && lines[2].contains(" requests, 0 failed"),
        "{text}"
    );
    assert!(
        lines[7].starts_with("error") && lines[7].contains("(no such Service)"),
        "{text}"
    );
    let columns = |line: &str| line.find("default/").unwrap();
    assert_eq!(columns(lines[1]), columns(lines[7]), "aligned:\n{text}");
    let few = narthex(&["routes", "API", "--admin", &admin, "-o", "json"]);
    let few: serde_json::Value = serde_json::from_slice(&few.stdout).unwrap();
    assert_eq!((few.as_array().unwrap().len(), &few[0]["path"]), (1, &"/api".into()));
    assert_eq!(few[0]["traffic"]["requests"], 0);
    let broken = narthex(&["routes", "--admin", &admin, "--status", "error", "--sort", "rate", "-r"]);
    assert_eq!(String::from_utf8(broken.stdout).unwrap().lines().count(), 2);
    let nobody = narthex(&["routes", "--admin", "127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nobody.stderr).starts_with("narthex: nobody answers at --admin 127.0.0.1:1"));
}

/// script(1); when it is gone, so is the terminal, and what runs in it is told.
struct Terminal(std::process::Child);

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn top_shows_and_hears() {
    let rig = rig();
    // Without a terminal it says what to do instead.
    let blind = narthex(&["top", "--admin", &rig.admin.to_string()]);
    assert_eq!(blind.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&blind.stderr).contains("narthex routes"));
    // So that the busiest route is known.
    assert_eq!(
        rig.client()
            .send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .answer()
            .status,
        200
    );
    eventually("it is counted", || {
        let busiest = ask(&rig, "/api/v1/routes?sort=-rate")["items"][0].clone();
        (busiest["traffic"]["rate"].as_f64() > Some(0.0)).then_some(())
    });
    // script(1) gives it one.
    let command = format!(
        "stty rows 30 cols 200; exec {} top --admin {}",
        env!("CARGO_BIN_EXE_narthex"),
        rig.admin
    );
    let mut top = Terminal(
        Command::new("script")
            .args(["-qfec", &command, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (mut screen, sink) = (top.0.stdout.take().unwrap(), seen.clone());
    let reader = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut piece) {
            sink.lock().unwrap().extend_from_slice(&piece[..count]);
        }
    });
    let shown = |word: &str| {
        eventually(&format!("{word} is on the screen"), || {
            let seen = seen.lock().unwrap();
            String::from_utf8_lossy(&seen).contains(word).then_some(())
        });
    };
    for word in ["gone.test/", "no such Service", "INGRESS", "q ends"] {
        shown(word);
    }
    let mut keys = top.0.stdin.take().unwrap();
    let mut press = |letters: &str| {
        keys.write_all(letters.as_bytes()).unwrap();
        keys.flush().unwrap();
    };
    // What has not changed is not drawn again: the first row was a.test's and becomes the other's.
    seen.lock().unwrap().clear();
    press("/gone\r");
    shown("nowhere");
    press("q");
    let status = eventually("it ends", || top.0.try_wait().unwrap());
    reader.join().unwrap();
    assert!(status.success());
    // It leaves the other screen, so that what was there before is there again.
    let seen = seen.lock().unwrap();
    assert!(String::from_utf8_lossy(&seen).contains("\u{1b}[?1049l"));
}
