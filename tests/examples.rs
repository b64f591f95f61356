//! Each annotation has an example that `narthex check` accepts without a word.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

#[test]
fn each_annotation_has_an_example_that_check_accepts() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let schema: serde_json::Value = serde_json::from_str(&narthex::testing::dialect::annotations::schema()).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    for annotation in properties.keys() {
        let name = annotation.strip_prefix("narthex.io/").unwrap();
        let file = examples.join(format!("{name}.yaml"));
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            text.contains(&format!("{annotation}: ")),
            "{} does not show it",
            file.display()
        );
        let check = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .arg("check")
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&check.stdout);
        assert!(
            check.status.success() && said.contains("0 errors, 0 warnings"),
            "{name}: {said}"
        );
    }
    let shown = std::fs::read_dir(&examples).unwrap().count();
    assert_eq!(shown, properties.len(), "one file for each in {}", examples.display());
}
