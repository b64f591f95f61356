//! Takes the dashboard that `make dashboard` built into the program, as it is and packed. Without one, a page says how to get it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const DIST: &str = "dashboard/dist";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={DIST}");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    let mut files = Vec::new();
    // A folder that is not there is a build without Node.
    for folder in [root.join(DIST), root.join(DIST).join("assets")] {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            files.push(entry?.path());
        }
    }
    files.retain(|file| file.is_file() && file.extension().is_some_and(|extension| extension != "gz"));
    files.sort();
    let mut code = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(root.join(DIST)).map_err(io::Error::other)?;
        let packed = PathBuf::from(format!("{}.gz", file.display()));
        let packed = if packed.exists() {
            format!("Some({})", bytes(&packed))
        } else {
            "None".to_owned()
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            code,
            "    Asset {{ name: {:?}, kind: {:?}, bytes: {}, packed: {packed} }},",
            name.display().to_string(),
            kind(&file),
            bytes(&file)
        );
    }
    code.push(']');
    fs::write(out.join("dashboard.rs"), code)
}

fn bytes(file: &Path) -> String {
    format!("include_bytes!({:?})", file.display().to_string())
}

fn kind(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
