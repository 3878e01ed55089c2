//! A run's tables and pictures as Markdown, for the page about performance.

use super::grid::Grid;
use super::plot::Picture;
use super::report::{Check, Report, number};

/// All of a run: the machine, the pictures by links into `directory`, the tables, the budget.
pub fn page(report: &Report, pictures: &[Picture], directory: &str) -> String {
    let mut text = format!("Linux {}, {}.\n", report.kernel, report.machine);
    for picture in pictures {
        text += &format!("\n![{}]({directory}/{})\n", picture.title, picture.file);
    }
    for grid in report.grids() {
        text += &format!("\n### {}\n\n{}", grid.title, figures(&grid));
    }
    if !report.checks.is_empty() {
        text += &format!("\n### Budget\n\n{}", budget(&report.checks));
    }
    for (title, lines) in [("Not measured", &report.skipped), ("Noted", &report.noted)] {
        if !lines.is_empty() {
            let lines: Vec<String> = lines.iter().map(|one| format!("- {one}\n")).collect();
            text += &format!("\n### {title}\n\n{}", lines.concat());
        }
    }
    text
}

fn figures(grid: &Grid<'_>) -> String {
    let mut text = row(std::iter::once("").chain(grid.subjects.iter().copied()));
    text += &format!("|---|{}\n", "---:|".repeat(grid.subjects.len()));
    for (path, cells) in &grid.rows {
        text += &row(std::iter::once(*path).chain(cells.iter().map(String::as_str)));
    }
    text
}

fn budget(checks: &[Check]) -> String {
    let mut text = row(["Rig", "Claim", "Value", "Budget", "Unit", ""]);
    text += "|---|---|---:|---:|---|---|\n";
    for check in checks {
        let verdict = if check.is_met() { "✓" } else { "missed" };
        let (rig, value) = (format!("{:?}", check.rig), number(check.value));
        let (bound, unit) = (check.bound.to_string(), check.unit.to_string());
        text += &row([rig.as_str(), &check.claim, &value, &bound, &unit, verdict]);
    }
    text
}

fn row<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells.into_iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{Bound, Rig, Unit};

    #[test]
    fn tables_pictures_and_budget_become_markdown() {
        let mut report = Report::new();
        report.add(Rig::A, "established", "lb", Unit::Nanoseconds, vec![42.0]);
        report.add(Rig::A, "established", "a|b", Unit::Nanoseconds, vec![90.0]);
        report.add(Rig::A, "new", "lb", Unit::Nanoseconds, vec![300.0]);
        report.check(Rig::A, "new", (300.0, Unit::Nanoseconds), Bound::AtMost(250.0));
        report.skipped.push("HAProxy: not installed".to_owned());
        report.noted.push("a|b: 1 of 1000 failed".to_owned());
        let picture = Picture { file: "cost.svg".to_owned(), title: "Cost".to_owned() };

        let text = page(&report, &[picture], "performance");
        for line in [
            "![Cost](performance/cost.svg)",
            "|  | lb | a\\|b |",
            "|---|---:|---:|",
            "| established | 42.0 | 90.0 |",
            "| new | 300 |  |",
            "| A | new | 300 | ≤ 250 | ns | missed |",
            "- HAProxy: not installed",
            "### Noted",
            "- a|b: 1 of 1000 failed",
        ] {
            assert!(text.lines().any(|one| one == line), "no line {line} in\n{text}");
        }
    }
}
