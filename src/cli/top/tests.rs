//! The screen, drawn into memory, and the keys.

use super::view::{Next, View};
use super::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

fn traffic(rate: f64) -> Value {
    json!({"requests": 10, "codes": {"1xx": 0, "2xx": 10, "3xx": 0, "4xx": 0, "5xx": 0}, "in_flight": 1,
        "bytes_in": 0, "bytes_out": 0, "rate": rate, "error_share": 0.25, "p50_ms": 1.5, "p99_ms": 250.0,
        "spark": vec![1; 60]})
}

fn route(host: &str, rate: f64) -> Value {
    json!({"id": format!("id-{host}"), "host": host, "path": "/", "path_type": "Prefix", "object": "Ingress default/web",
        "namespace": "default", "name": "web", "field": "spec.rules[0]", "backend": "default/web:80", "service": "web",
        "state": "ready", "status": "ok", "problems": 0, "tls": false, "traffic": traffic(rate),
        "endpoints": [{"address": "10.0.0.1:80", "pod": "web-1", "zone": null, "near": false, "requests": 9,
            "failures": 2, "in_flight": 1, "rate": rate, "check": null,
            "set_aside": {"why": "failing", "seconds": 9.0, "shards": 1}}]})
}

fn snapshot(hosts: &[&str]) -> Snapshot {
    let overview = json!({"name": "narthex", "version": "9.9", "pod": "node-a", "started": "2026-11-23T00:00:00Z",
        "ready": true, "generation": 1, "swaps": 1, "uptime_seconds": 61, "objects": {},
        "counts": {"hosts": 1, "routes": 2, "backends": 1, "endpoints": 1, "certificates": 0},
        "problems": {"error": 1, "warning": 2, "info": 0}, "traffic": traffic(42.0), "connections": 3,
        "connections_by_shard": [3], "memory_bytes": 20 << 20, "watches": []});
    let items: Vec<Value> = hosts.iter().map(|host| route(host, 7.0)).collect();
    Snapshot {
        overview: serde_json::from_value(overview).unwrap(),
        routes: serde_json::from_value(json!({"total": hosts.len(), "page": 1, "per_page": 200, "items": items}))
            .unwrap(),
        at: Instant::now(),
    }
}

fn screen(view: &View) -> String {
    let mut terminal = Terminal::new(TestBackend::new(140, 20)).unwrap();
    terminal.draw(|frame| draw::draw(frame, view)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let lines = buffer.content.chunks(140);
    lines
        .map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>() + "\n")
        .collect()
}

fn press(view: &mut View, code: KeyCode) -> Next {
    view.press(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn what_is_told_is_shown() {
    let mut view = View::new(String::new());
    view.told(Ok(snapshot(&["a.test", "b\u{1b}[2J.test"])));
    let seen = screen(&view);
    for word in [
        "narthex 9.9",
        "node-a, ready, up 1m 1s, 20 MiB",
        "42.0/s, 5xx 25%, p50 1.5ms, p99 250ms",
        "1 errors, 2 warnings",
        "2 of 2 routes by rate",
        "a.test/",
        "b\\u001b[2J.test/",
        "default/web:80",
        "1 pods of default/web:80",
        "web-1",
        "set aside for 9s: failing",
        "q ends",
    ] {
        assert!(seen.contains(word), "no {word} in\n{seen}");
    }
    press(&mut view, KeyCode::Char('p'));
    assert!(!screen(&view).contains("web-1"));
    view.told(Err(anyhow::anyhow!("nobody answers")));
    let seen = screen(&view);
    assert!(
        seen.contains("as of 0s ago: nobody answers") && seen.contains("a.test/"),
        "{seen}"
    );
    view.told(Ok(snapshot(&[])));
    assert!(screen(&view).contains("0 of 0 routes"));
}

#[test]
fn keys_do_what_they_say() {
    let mut view = View::new(String::new());
    view.told(Ok(snapshot(&["a", "b", "c"])));
    assert_eq!(press(&mut view, KeyCode::Down), Next::Nothing);
    assert_eq!(view.route().unwrap().host, "b");
    view.told(Ok(snapshot(&["c", "a", "b"])));
    assert_eq!(
        (view.selected(), &*view.route().unwrap().host),
        (2, "b"),
        "selected wherever it is"
    );
    press(&mut view, KeyCode::End);
    press(&mut view, KeyCode::Down);
    assert_eq!(view.selected(), 2, "no further");
    view.told(Ok(snapshot(&["c"])));
    assert_eq!(view.selected(), 0);
    assert_eq!(press(&mut view, KeyCode::Char('e')), Next::Ask);
    assert_eq!(view.question().sort, "-error_share");
    press(&mut view, KeyCode::Char('/'));
    for letter in ['q', 'x'] {
        assert_eq!(press(&mut view, KeyCode::Char(letter)), Next::Ask, "a letter, no key");
    }
    press(&mut view, KeyCode::Backspace);
    press(&mut view, KeyCode::Enter);
    assert_eq!(view.question().words, "q");
    assert_eq!(press(&mut view, KeyCode::Esc), Next::Ask);
    assert_eq!(view.question().words, "");
    assert_eq!(press(&mut view, KeyCode::Esc), Next::End);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(view.press(control_c), Next::End);
}
