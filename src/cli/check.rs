//! `narthex check`: compiles manifests and prints what is wrong, like a good compiler.

mod sarif;
mod source;
mod statuses;

use super::paint::{Sheet, Style};
use super::print;
use crate::admin::view::Problem;
use crate::compile::{Options, State, lint};
use crate::config::RuleArgs;
use crate::dialect::{Change, Object};
use crate::model::{Code, Diagnostic, Kind, Location, ObjectRef, Severity, Timestamp};
use crate::source::directory::{self, Loaded};
use clap::{Args, ValueEnum};
use std::collections::{BTreeMap, HashMap, HashSet};
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
    pub output: Format,
    /// Exit with status 1 for warnings too
    #[arg(long)]
    pub strict: bool,
    /// Whether the files hold all Secrets
    #[arg(long, value_enum, default_value = "partial")]
    pub secrets: Secrets,
    /// Print the status that each object of Gateway API and each Route would get, as YAML, in place of what is wrong
    #[arg(long)]
    pub statuses: bool,
    /// What the running narthex would be told.
    #[command(flatten)]
    pub rules: RuleArgs,
}

/// How problems are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people
    Text,
    /// JSON for programs
    Json,
    /// SARIF 2.1.0, which code hosts and editors show beside the lines
    Sarif,
}

/// Which Secrets the files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Secrets {
    /// Some or none: a Secret that is missing is not an error
    Partial,
    /// All of them: a Secret that is missing is an error
    Complete,
}

/// Compiles what files hold, as the directory source would.
///
/// # Errors
/// A flag that cannot be read.
pub fn compile(paths: &[PathBuf], rules: &RuleArgs) -> anyhow::Result<Compiled> {
    let loaded = directory::load(paths);
    Ok(compiled(loaded.objects, loaded.diagnostics, compile_options(rules)?))
}

fn compile_options(rules: &RuleArgs) -> anyhow::Result<Options> {
    rules.compile_options(Vec::new()).map_err(anyhow::Error::msg)
}

fn compiled(objects: Vec<(Object, Location)>, diagnostics: Vec<Diagnostic>, options: Options) -> Compiled {
    let mut state = State::new(options);
    let mut places = HashMap::new();
    for (object, location) in objects {
        places.insert(object.reference(), location);
        state.apply(Change::Apply(object));
    }
    state.apply(Change::Time(Timestamp::now()));
    state.apply(Change::Files(diagnostics));
    (state, places)
}

/// What was compiled, and the places of its objects.
type Compiled = (State, HashMap<ObjectRef, Location>);

/// Compiles them so that as much as possible can be said of them; besides, what the API server would refuse.
fn compile_to_check(args: &CheckArgs) -> anyhow::Result<(Compiled, Vec<Diagnostic>)> {
    let Loaded {
        mut objects,
        diagnostics,
        quoted,
        refused,
    } = directory::load(&args.paths);
    for (object, location) in quoted {
        objects.retain(|(other, _)| other.reference() != object.reference());
        objects.push((object, location));
    }
    let options = Options {
        suggest: true,
        ..compile_options(&args.rules)?
    };
    Ok((compiled(objects, diagnostics, options), refused))
}

/// How bad something is in a manifest that is about to be applied: what `kubectl apply` would refuse is an error, also
/// where a running narthex makes do. People rarely keep Secrets beside their manifests, and cert-manager makes its own later.
fn severity(diagnostic: &Diagnostic, secrets: Secrets) -> Severity {
    match diagnostic.code {
        Code::UnknownField | Code::UnknownKind => Severity::Error,
        Code::CertificateNotIssued => Severity::Info,
        Code::SecretNotFound if secrets == Secrets::Partial => Severity::Info,
        code => code.severity(),
    }
}

/// All that is to be said, worst first, each with its place.
fn diagnostics(
    state: &mut State,
    places: &HashMap<ObjectRef, Location>,
    refused: Vec<Diagnostic>,
    secrets: Secrets,
) -> Vec<Diagnostic> {
    let severity = |diagnostic: &Diagnostic| severity(diagnostic, secrets);
    let mut said: Vec<Diagnostic> = state.refresh().iter().cloned().collect();
    said.extend(lint::lint(state));
    // People rarely write EndpointSlices into files. Without any, missing pods are not reported.
    let counts = state.counts();
    let known = |kind| counts.get(&kind).is_some_and(|count| *count > 0);
    if !known(Kind::EndpointSlice) && !known(Kind::Endpoints) {
        said.retain(|diagnostic| diagnostic.code != Code::NoEndpoints);
    }
    place(&mut said, places);
    // What narthex cannot use itself has been said in other words.
    let errors: HashSet<_> = said
        .iter()
        .filter(|diagnostic| severity(diagnostic) == Severity::Error)
        .map(|diagnostic| (diagnostic.object.clone(), diagnostic.field.clone()))
        .collect();
    said.extend(
        refused
            .into_iter()
            .filter(|diagnostic| !errors.contains(&(diagnostic.object.clone(), diagnostic.field.clone()))),
    );
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
    let ((mut state, places), refused) = compile_to_check(args)?;
    if args.statuses {
        let all = state.gateway_statuses().iter();
        let mut all: BTreeMap<_, _> = all
            .map(|(object, status)| (object.clone(), status.fields.clone()))
            .collect();
        all.extend(statuses::routes(&state.table()));
        print(&statuses::yaml(&all));
        return Ok(ExitCode::SUCCESS);
    }
    let said = diagnostics(&mut state, &places, refused, args.secrets);
    let rated: Vec<Rated<'_>> = said
        .iter()
        .map(|diagnostic| (severity(diagnostic, args.secrets), diagnostic))
        .collect();
    let count = |wanted| rated.iter().filter(|(severity, _)| *severity == wanted).count();
    let table = state.table();
    let counts = Counts {
        objects: places.len(),
        routes: table.routes().count(),
        backends: table.backends().count(),
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
    };
    match args.output {
        Format::Json => print(&format!("{:#}\n", counts.json(&rated))),
        Format::Sarif => print(&format!("{:#}\n", sarif::report(&rated))),
        Format::Text => counts.sheet(&rated).print(),
    }
    Ok(if counts.errors > 0 || (args.strict && counts.warnings > 0) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// A diagnostic, and how bad it is.
type Rated<'a> = (Severity, &'a Diagnostic);

/// What was checked, and how it went.
struct Counts {
    objects: usize,
    routes: usize,
    backends: usize,
    errors: usize,
    warnings: usize,
}

impl Counts {
    fn json(&self, said: &[Rated<'_>]) -> serde_json::Value {
        let problems = said.iter().map(|(severity, diagnostic)| Problem {
            severity: severity.name().to_owned(),
            ..Problem::from(*diagnostic)
        });
        let problems: Vec<Problem> = problems.collect();
        serde_json::json!({
            "errors": self.errors, "warnings": self.warnings, "objects": self.objects,
            "routes": self.routes, "backends": self.backends, "problems": problems,
        })
    }

    fn sheet(&self, said: &[Rated<'_>]) -> Sheet {
        let (mut sheet, mut lines) = (Sheet::new(), source::Lines::default());
        for (severity, diagnostic) in said {
            describe(&mut sheet, *severity, diagnostic, &mut lines);
        }
        if said
            .iter()
            .any(|(severity, said)| (*severity, said.code) == (Severity::Info, Code::SecretNotFound))
        {
            // Writing to a sheet cannot fail.
            let _ = writeln!(
                sheet,
                "Secrets that are not in the files are errors only with --secrets complete.\n"
            );
        }
        let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let _ = writeln!(
            sheet,
            "{}, {}, {}: {}, {}",
            plural(self.objects, "object"),
            plural(self.routes, "route"),
            plural(self.backends, "backend"),
            plural(self.errors, "error"),
            plural(self.warnings, "warning")
        );
        sheet
    }
}

fn describe(sheet: &mut Sheet, severity: Severity, diagnostic: &Diagnostic, lines: &mut source::Lines) {
    sheet.put(Style::Severity, severity.name());
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
        if sheet.is_seen() {
            let whose = (diagnostic.object.as_ref(), diagnostic.field.as_str());
            source::show(sheet, whose, location, lines);
        }
    }
    sheet.end_line();
}
