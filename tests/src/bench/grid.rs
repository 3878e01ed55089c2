//! Figures side by side.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::report::{Figure, number};

/// Figures of one kind: paths in rows, subjects in columns.
pub(super) struct Grid<'a> {
    /// Where, and of what.
    pub(super) title: String,
    /// The columns' names.
    pub(super) subjects: Vec<&'a str>,
    /// The rows' names, and what is in each column: nothing where a subject has no figure.
    pub(super) rows: Vec<(&'a str, Vec<String>)>,
}

impl<'a> Grid<'a> {
    pub(super) fn new(title: String, figures: impl Iterator<Item = &'a Figure> + Clone) -> Self {
        let mut subjects: Vec<&str> = Vec::new();
        let mut paths: Vec<&str> = Vec::new();
        for figure in figures.clone() {
            if !subjects.contains(&figure.subject.as_str()) {
                subjects.push(&figure.subject);
            }
            if !paths.contains(&figure.path.as_str()) {
                paths.push(&figure.path);
            }
        }
        let row = |path| {
            let cells = subjects.iter().map(|subject| {
                let found = figures.clone().find(|one| one.path == path && one.subject == *subject);
                found.map_or_else(String::new, cell)
            });
            (path, cells.collect())
        };
        let rows = paths.into_iter().map(row).collect();
        Self { title, subjects, rows }
    }

    /// For people at a terminal.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header([&[""], &self.subjects[..]].concat());
        for (path, cells) in &self.rows {
            table.add_row([(*path).to_owned()].into_iter().chain(cells.iter().cloned()));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

fn cell(figure: &Figure) -> String {
    let (lower, median, upper) = (figure.lower(), figure.median(), figure.upper());
    if figure.samples.len() < 2 {
        number(median)
    } else {
        format!("{} ({}–{})", number(median), number(lower), number(upper))
    }
}
