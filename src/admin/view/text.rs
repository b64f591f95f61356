//! A decision as `explain` prints it.

use super::Decision;
use crate::admin::Status;
use crate::model::visible::{Keep, visible};

/// What becomes of a request at a step, for people.
fn outcome_for_people(outcome: &str) -> &str {
    match outcome {
        "changes" => "passes, with changes",
        "depends" => "depends on what the client has asked before, or can show",
        "ends" => "answers",
        other => other,
    }
}

impl Decision {
    /// The decision for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut |line: String| {
            out += &visible(&line, Keep::Nothing);
            out.push('\n');
        });
        out
    }

    fn write(&self, line: &mut dyn FnMut(String)) {
        let host = self.host.as_deref().unwrap_or("(no host)");
        line(format!("{} {host} {}", self.method, self.path).trim_end().to_owned());
        line(format!("  {}", self.summary));
        // Where all is wrong, the summary says so.
        if let Some(now) = self.now.as_ref().filter(|now| now.status != Status::Error) {
            line(format!("  now       {}", now.summary));
        }
        for hint in &self.hints {
            line(format!("  perhaps   {}", hint.message));
        }
        if let Some(location) = &self.location {
            line(format!("  location  {location}"));
        }
        for (place, step) in self.steps.iter().enumerate() {
            let head = if place == 0 { "steps" } else { "" };
            line(format!(
                "  {head:<9} {}: {}",
                step.step,
                outcome_for_people(&step.outcome)
            ));
        }
        if let Some(path) = &self.forwarded_path {
            line(format!("  pod gets  {path}"));
        }
        if let Some(certificate) = &self.certificate {
            line(format!("  shows     {certificate}"));
        }
        if let Some(asked) = &self.client_certificate {
            line(format!("  asks for  a client certificate: {asked}"));
        }
        if let Some(rule) = &self.rule {
            line(format!("  rule      {} {}", rule.host, rule.path));
            line(format!("  from      {} {}", rule.object, rule.field));
            if self.shares.is_empty() {
                line(format!("  backend   {}", rule.backend));
            }
            let sum: u32 = self.shares.iter().map(|share| share.weight).sum();
            for share in &self.shares {
                let (backend, weight, endpoints) = (&share.backend, share.weight, share.endpoints);
                let plural = if endpoints == 1 { "" } else { "s" };
                line(format!(
                    "  backend   {backend}: {weight} of {sum}, with {endpoints} endpoint{plural}"
                ));
            }
            for endpoint in &self.endpoints {
                let pod = endpoint
                    .pod
                    .as_deref()
                    .map(|pod| format!("  {pod}"))
                    .unwrap_or_default();
                let trouble = endpoint.trouble.as_deref();
                let trouble = trouble.map(|words| format!("  {words}")).unwrap_or_default();
                line(format!("  endpoint  {}{pod}{trouble}", endpoint.address));
            }
            for yielded in &self.yielded {
                line(format!("  instead of {yielded}"));
            }
            let younger = self.shadows.iter().filter(|shadow| {
                let whose = format!("{shadow}: ");
                !self.yielded.iter().any(|yielded| yielded.starts_with(&whose))
            });
            for shadow in younger {
                line(format!(
                    "  beats     {shadow}: the same host and path, but newer or later by name"
                ));
            }
        }
        let hosts: Vec<String> = self
            .hosts
            .iter()
            .map(|(host, rules)| format!("{host} ({rules} {})", if *rules == 1 { "rule" } else { "rules" }))
            .collect();
        if !hosts.is_empty() {
            line(format!("  hosts compared, in order: {}", hosts.join(", ")));
        }
        if !self.lost.is_empty() {
            line("  nearly matched:".to_owned());
        }
        for (rule, why) in &self.lost {
            line(format!(
                "    {} {} → {} ({}): {why}",
                rule.host, rule.path, rule.backend, rule.object
            ));
        }
        for problem in &self.problems {
            let object = problem.object.as_deref().unwrap_or_default();
            line(format!(
                "  {}: {object}: {}: {}",
                problem.severity, problem.field, problem.message
            ));
        }
    }
}
