//! Each finding class has a page, because reports and alerts link to it: a dead link at 3 a.m. helps nobody.

use std::path::Path;

use volwarden::domain::finding::Class;

#[test]
fn every_class_has_its_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let missing: Vec<String> =
        Class::ALL.iter().map(|class| class.docs()).filter(|page| !root.join(page).is_file()).collect();
    assert!(missing.is_empty(), "{} pages are missing:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn every_page_is_about_a_class_and_names_it_in_its_title() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings");
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if stem.eq_ignore_ascii_case("readme") {
            continue;
        }
        assert!(Class::ALL.iter().any(|class| class.as_str() == stem), "{stem} is no finding class");
        let text = std::fs::read_to_string(&path).unwrap();
        let title = text.lines().next().unwrap_or_default();
        assert!(title.starts_with("# ") && title.contains(stem), "{stem}: its first line is {title:?}");
    }
}
