//! From an object's place in a file to the place of one of its fields.

use super::node::{Mark, Node};
use super::{parse, yaml};
use crate::model::Location;
use std::path::Path;

/// For objects at these places of one file, the places of these fields. What cannot be found keeps its object's place.
pub fn fields(file: &Path, wanted: &[(Location, String)]) -> Vec<Location> {
    let mut places: Vec<Location> = wanted.iter().map(|(object, _)| object.clone()).collect();
    let json = file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if let Ok(text) = parse::read(file) {
        // A file that has become unreadable since keeps what is known.
        let _ = yaml::documents(&text, json, &mut |document| search(&document, wanted, &mut places));
    }
    places
}

fn search(node: &Node, wanted: &[(Location, String)], places: &mut [Location]) {
    if parse::is_list(node) {
        for item in node.get("items").map(Node::items).unwrap_or_default() {
            search(item, wanted, places);
        }
    }
    for ((object, field), place) in wanted.iter().zip(places) {
        if (object.line, object.column) == (node.at.line as usize, node.at.column as usize) {
            let annotation = field.strip_prefix("annotation ");
            let annotation = annotation.map(|name| format!("metadata.annotations[{name}]"));
            let Mark { line, column } = node.locate(annotation.as_ref().unwrap_or(field));
            (place.line, place.column) = (line as usize, column as usize);
        }
    }
}
