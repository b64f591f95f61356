//! `narthex check`: compiles manifests and prints what is wrong, like a good compiler.

use super::paint::{Sheet, Style};
use super::{Output, print};
use crate::admin::view::Problem;
use crate::compile::{State, lint};
use crate::config::RuleArgs;
use crate::dialect::Change;
use crate::model::{Code, Diagnostic, Kind, Location, ObjectRef, Severity, Timestamp};
use crate::source::directory::{self, Loaded};
use clap::Args;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Files and folders of Kubernetes manifests; `-` means standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// What the running narthex would be told.
    #[command(flatten)]
    pub rules: RuleArgs,
}

/// Compiles what files hold, as the directory source would.
///
/// # Errors
/// A flag that cannot be read.
pub fn compile(paths: &[PathBuf], rules: &RuleArgs) -> anyhow::Result<(State, HashMap<ObjectRef, Location>)> {
    let options = rules.compile_options(Vec::new()).map_err(anyhow::Error::msg)?;
    let Loaded { objects, diagnostics } = directory::load(paths);
    let mut state = State::new(options);
    let mut places = HashMap::new();
    for (object, location) in objects {
        places.insert(object.reference(), location);
        state.apply(Change::Apply(object));
    }
    state.apply(Change::Time(Timestamp::now()));
    state.apply(Change::Files(diagnostics));
    Ok((state, places))
}

/// How bad something is in a manifest that is about to be applied: what `kubectl apply` would refuse is an error, also
/// where a running narthex makes do.
fn severity(diagnostic: &Diagnostic) -> Severity {
    match diagnostic.code {
        Code::UnknownField | Code::UnknownKind => Severity::Error,
        code => code.severity(),
    }
}

/// All that is to be said, worst first, each with its place.
fn diagnostics(state: &mut State, places: &HashMap<ObjectRef, Location>) -> Vec<Diagnostic> {
    let mut said: Vec<Diagnostic> = state.refresh().iter().cloned().collect();
    said.extend(lint::lint(state));
    // People rarely write EndpointSlices into files. Without any, missing pods are not reported.
    let counts = state.counts();
    let known = |kind| counts.get(&kind).is_some_and(|count| *count > 0);
    if !known(Kind::EndpointSlice) && !known(Kind::Endpoints) {
        said.retain(|diagnostic| diagnostic.code != Code::NoEndpoints);
    }
    place(&mut said, places);
    said.sort_by(|a, b| {
        (&a.location, severity(a), &a.object, &a.field, &a.message).cmp(&(
            &b.location,
            severity(b),
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
///
/// # Errors
/// A flag that cannot be read.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let (mut state, places) = compile(&args.paths, &args.rules)?;
    let said = diagnostics(&mut state, &places);
    let count = |wanted| said.iter().filter(|diagnostic| severity(diagnostic) == wanted).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let table = state.table();
    let (routes, backends) = (table.routes().count(), table.backends().count());
    match args.output {
        Output::Json => {
            let problems = said.iter().map(|diagnostic| Problem {
                severity: severity(diagnostic).name().to_owned(),
                ..Problem::from(diagnostic)
            });
            let problems: Vec<Problem> = problems.collect();
            let report = serde_json::json!({
                "errors": errors, "warnings": warnings, "objects": places.len(),
                "routes": routes, "backends": backends, "problems": problems,
            });
            print(&format!("{report:#}\n"));
        }
        Output::Text => sheet(&said, places.len(), routes, backends, errors, warnings).print(),
    }
    Ok(if errors > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn sheet(said: &[Diagnostic], objects: usize, routes: usize, backends: usize, errors: usize, warnings: usize) -> Sheet {
    let mut sheet = Sheet::new();
    for diagnostic in said {
        describe(&mut sheet, diagnostic);
    }
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    // Writing to a sheet cannot fail.
    let _ = writeln!(
        sheet,
        "{}, {}, {}: {}, {}",
        plural(objects, "object"),
        plural(routes, "route"),
        plural(backends, "backend"),
        plural(errors, "error"),
        plural(warnings, "warning")
    );
    sheet
}

fn describe(sheet: &mut Sheet, diagnostic: &Diagnostic) {
    sheet.put(Style::Severity, severity(diagnostic).name());
    sheet.put(Style::Dim, &format!("[{}]", diagnostic.code.name()));
    sheet.put(Style::Plain, ": ");
    sheet.put(Style::Bold, &diagnostic.message);
    sheet.end_line();
    if let Some(object) = &diagnostic.object {
        let field = Some(&diagnostic.field).filter(|field| !field.is_empty());
        let field = field.map(|field| format!(": {field}")).unwrap_or_default();
        sheet.put(Style::Plain, &format!("  {object}{field}"));
        sheet.end_line();
    }
    if let Some(location) = &diagnostic.location {
        sheet.put(Style::Plain, "  ");
        sheet.put(Style::Dim, "-->");
        sheet.put(Style::Plain, &format!(" {location}"));
        sheet.end_line();
    }
    sheet.end_line();
}
