//! `narthex check`: compiles manifests and prints what is wrong, like a good compiler.

use super::paint::Paint;
use super::{Output, print};
use crate::admin::view::Problem;
use crate::compile::{State, lint};
use crate::config::RuleArgs;
use crate::model::{Change, Code, Diagnostic, Kind, Location, ObjectRef, Severity, Timestamp};
use crate::source::directory::{self, Loaded};
use clap::Args;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Files and folders of Kubernetes manifests
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// What the running narthex would be told.
    #[command(flatten)]
    pub rules: RuleArgs,
}

/// Compiles what files hold, as the directory source would.
pub fn compile(paths: &[PathBuf], rules: &RuleArgs) -> (State, HashMap<ObjectRef, Location>) {
    let Loaded { objects, diagnostics } = directory::load(paths);
    let mut state = State::new(rules.compile_options(Vec::new()));
    let mut places = HashMap::new();
    for (object, location) in objects {
        places.insert(object.reference(), location);
        state.apply(Change::Apply(object));
    }
    state.apply(Change::Time(Timestamp::now()));
    state.apply(Change::Files(diagnostics));
    (state, places)
}

/// All that is to be said, worst first, each with its place.
fn diagnostics(state: &mut State, places: &HashMap<ObjectRef, Location>) -> Vec<Diagnostic> {
    let mut said: Vec<Diagnostic> = state.refresh().iter().cloned().collect();
    said.extend(lint::lint(state));
    // Files that people write hold no slices: where there is none at all, pods are not what is asked about.
    let counts = state.counts();
    let known = |kind| counts.get(&kind).is_some_and(|count| *count > 0);
    if !known(Kind::EndpointSlice) && !known(Kind::Endpoints) {
        said.retain(|diagnostic| diagnostic.code != Code::NoEndpoints);
    }
    place(&mut said, places);
    said.sort_by(|a, b| {
        (&a.location, a.severity(), &a.object, &a.field, &a.message).cmp(&(
            &b.location,
            b.severity(),
            &b.object,
            &b.field,
            &b.message,
        ))
    });
    said
}

/// Finds the line of each field, reading each file once more.
fn place(said: &mut [Diagnostic], places: &HashMap<ObjectRef, Location>) {
    let mut by_file: BTreeMap<&Path, Vec<(&mut Diagnostic, &Location)>> = BTreeMap::new();
    for diagnostic in said.iter_mut().filter(|diagnostic| diagnostic.location.is_none()) {
        if let Some(location) = diagnostic.object.as_ref().and_then(|object| places.get(object)) {
            by_file.entry(&location.file).or_default().push((diagnostic, location));
        }
    }
    for (file, mut diagnostics) in by_file {
        let wanted: Vec<(Location, String)> = diagnostics
            .iter()
            .map(|(diagnostic, location)| ((*location).clone(), diagnostic.field.clone()))
            .collect();
        for ((diagnostic, _), location) in diagnostics.iter_mut().zip(directory::locate::fields(file, &wanted)) {
            diagnostic.location = Some(location);
        }
    }
}

/// Checks, prints, and answers 1 if there are errors.
pub fn run(args: &CheckArgs) -> ExitCode {
    let (mut state, places) = compile(&args.paths, &args.rules);
    let said = diagnostics(&mut state, &places);
    let count = |severity| {
        said.iter()
            .filter(|diagnostic| diagnostic.severity() == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let table = state.table();
    let (routes, backends) = (table.routes().count(), table.backends().count());
    match args.output {
        Output::Json => {
            let problems: Vec<Problem> = said.iter().map(Problem::from).collect();
            let report = serde_json::json!({
                "errors": errors, "warnings": warnings, "objects": places.len(),
                "routes": routes, "backends": backends, "problems": problems,
            });
            print(&format!("{report:#}\n"));
        }
        Output::Text => print(&text(&said, places.len(), routes, backends, errors, warnings)),
    }
    if errors > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn text(said: &[Diagnostic], objects: usize, routes: usize, backends: usize, errors: usize, warnings: usize) -> String {
    let paint = Paint::stdout();
    let mut out = String::new();
    for diagnostic in said {
        // Writing to a String cannot fail.
        let _ = describe(&mut out, paint, diagnostic);
    }
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let _ = writeln!(
        out,
        "{}, {}, {}: {}, {}",
        plural(objects, "object"),
        plural(routes, "route"),
        plural(backends, "backend"),
        plural(errors, "error"),
        plural(warnings, "warning")
    );
    out
}

fn describe(out: &mut String, paint: Paint, diagnostic: &Diagnostic) -> std::fmt::Result {
    let severity = paint.severity(diagnostic.severity().name());
    let code = paint.dim(&format!("[{}]", diagnostic.code.name()));
    writeln!(out, "{severity}{code}: {}", paint.bold(&diagnostic.message))?;
    let object = diagnostic.object.as_ref().map(ToString::to_string);
    match (&object, diagnostic.field.is_empty()) {
        (Some(object), false) => writeln!(out, "  {object}: {}", diagnostic.field)?,
        (Some(object), true) => writeln!(out, "  {object}")?,
        (None, _) => {}
    }
    if let Some(location) = &diagnostic.location {
        writeln!(out, "  {} {location}", paint.dim("-->"))?;
    }
    writeln!(out)
}
