//! A picture as SVG: areas hold leaf groups, a group shows its leaves and a row for each host with a square for each
//! rail; what is slow, unfit or dark stands out by color and by form.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::picture::{GroupPicture, Health, HostPicture, Picture, Usual};
use super::plan::brief;
use crate::simulate::columns::plural;

const ROW: usize = 16;
const SQUARE: usize = 11;
const STEP: usize = 15;
const PAD: usize = 10;
const HEAD: usize = 40;
/// Width of a character of the names, at the size they are drawn in.
const CHARACTER: usize = 7;
/// Hosts below each other in a group, before it gets another column.
const MOST_ROWS: usize = 32;

/// Writes the picture.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_svg(picture: &Picture, out: &mut impl Write) -> io::Result<()> {
    let mut areas: BTreeMap<(Option<&str>, Option<&str>), Vec<&GroupPicture>> = BTreeMap::new();
    for group in &picture.groups {
        areas
            .entry((group.core.as_deref(), group.spine.as_deref()))
            .or_default()
            .push(group);
    }
    let loose = GroupPicture {
        name: "in no leaf group".to_owned(),
        hosts: picture.loose.clone(),
        ..GroupPicture::default()
    };
    let mut drawn: Vec<Area<'_>> = areas
        .into_iter()
        .map(|((core, spine), groups)| Area::new(core, spine, groups))
        .collect();
    if !loose.hosts.is_empty() {
        drawn.push(Area::new(None, None, vec![&loose]));
    }
    let width = drawn.iter().map(|area| area.width).max().unwrap_or(0).max(620) + 2 * PAD;
    let height = drawn.iter().map(|area| area.height + PAD).sum::<usize>() + HEAD + 2 * PAD;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">"
    )?;
    writeln!(
        out,
        "<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>"
    )?;
    legend(out)?;
    let mut y = HEAD;
    for area in &drawn {
        area.draw(picture.usual, PAD, y, out)?;
        y += area.height + PAD;
    }
    writeln!(out, "</svg>")
}

/// The groups of one area, and the room they take.
struct Area<'a> {
    title: String,
    groups: Vec<&'a GroupPicture>,
    columns: usize,
    cell: (usize, usize),
    width: usize,
    height: usize,
}

impl<'a> Area<'a> {
    fn new(core: Option<&str>, spine: Option<&str>, groups: Vec<&'a GroupPicture>) -> Self {
        let title: Vec<String> = [("core", core), ("spine", spine)]
            .into_iter()
            .filter_map(|(tier, name)| Some(format!("{tier} {}", name?)))
            .collect();
        let cell = groups
            .iter()
            .map(|group| size(group))
            .fold((0, 0), |(w, h), (x, y)| (w.max(x), h.max(y)));
        // About as wide as high.
        let columns = (1..=groups.len())
            .find(|columns| columns * cell.0 >= groups.len().div_ceil(*columns) * cell.1)
            .unwrap_or(groups.len())
            .max(1);
        let rows = groups.len().div_ceil(columns);
        Self {
            title: title.join(", "),
            columns,
            width: columns * (cell.0 + PAD) + PAD,
            height: rows * (cell.1 + PAD) + PAD + 18,
            cell,
            groups,
        }
    }

    fn draw(&self, usual: Usual, x: usize, y: usize, out: &mut impl Write) -> io::Result<()> {
        frame(x, y, (self.width, self.height), "#f4f6f8", "#b0bec5", out)?;
        text(x + PAD, y + 17, "bold", &self.title, out)?;
        for (index, group) in self.groups.iter().enumerate() {
            let (row, column) = (index / self.columns, index % self.columns);
            let left = x + PAD + column * (self.cell.0 + PAD);
            let top = y + 18 + PAD + row * (self.cell.1 + PAD);
            draw_group(group, usual, left, top, self.cell, out)?;
        }
        Ok(())
    }
}

/// Width of the names of a group's hosts.
fn names(group: &GroupPicture) -> usize {
    let longest = group.hosts.iter().map(|host| host.name.chars().count()).max();
    longest.unwrap_or(0) * CHARACTER + PAD
}

fn rails(group: &GroupPicture) -> usize {
    let most = group.hosts.iter().map(slots).max();
    most.unwrap_or(0)
}

/// How many squares a host takes: a missing number leaves a gap, so that a rail is below the same rail.
fn slots(host: &HostPicture) -> usize {
    host.rails
        .iter()
        .map(|rail| usize::from(rail.rail) + 1)
        .max()
        .unwrap_or(0)
}

fn column(group: &GroupPicture) -> usize {
    names(group) + rails(group) * STEP + PAD
}

fn size(group: &GroupPicture) -> (usize, usize) {
    let columns = group.hosts.len().div_ceil(MOST_ROWS).max(1);
    let rows = group.hosts.len().min(MOST_ROWS);
    let title = (group.name.chars().count() + 14) * CHARACTER;
    let leaf = group
        .leaves
        .iter()
        .map(|leaf| leaf_text(leaf).chars().count())
        .max()
        .unwrap_or(0)
        * CHARACTER
        + 2 * PAD;
    let width = (columns * column(group)).max(title).max(leaf) + 2 * PAD;
    (width, 30 + group.leaves.len() * ROW + PAD + rows * ROW + PAD)
}

fn leaf_text(
    (_, name, rails): &(
        crate::decide::fabric::Guid,
        String,
        std::collections::BTreeSet<u16>,
    ),
) -> String {
    let rails: Vec<String> = rails.iter().map(ToString::to_string).collect();
    format!("{name}: rail {}", rails.join(", "))
}

fn draw_group(
    group: &GroupPicture,
    usual: Usual,
    x: usize,
    y: usize,
    cell: (usize, usize),
    out: &mut impl Write,
) -> io::Result<()> {
    frame(x, y, cell, "#ffffff", "#78909c", out)?;
    let title = format!("{} ({})", group.name, plural(group.hosts.len(), "host"));
    text(x + PAD, y + 18, "bold", &title, out)?;
    let mut top = y + 26;
    for leaf in &group.leaves {
        writeln!(
            out,
            "<rect x=\"{}\" y=\"{top}\" width=\"{}\" height=\"{}\" rx=\"3\" fill=\"#dbe7f3\"><title>{}</title></rect>",
            x + PAD,
            cell.0 - 2 * PAD,
            ROW - 2,
            leaf.0
        )?;
        text(x + PAD + 5, top + 11, "normal", &leaf_text(leaf), out)?;
        top += ROW;
    }
    top += PAD;
    for (index, host) in group.hosts.iter().enumerate() {
        let left = x + PAD + (index / MOST_ROWS) * column(group);
        let line = top + (index % MOST_ROWS) * ROW;
        text(left, line + 10, "normal", &host.name, out)?;
        for rail in &host.rails {
            let square = left + names(group) + usize::from(rail.rail) * STEP;
            let label = format!("{} rail {} {}: {}", host.name, rail.rail, rail.hca, brief(rail));
            square_of(usual.health(rail), square, line, &label, out)?;
        }
    }
    Ok(())
}

/// The square of a rail: a filled one is up, one with a bar is slow, one with a cross unfit, an empty dashed one dark.
fn square_of(health: Health, x: usize, y: usize, label: &str, out: &mut impl Write) -> io::Result<()> {
    let label = escaped(label);
    let (fill, stroke, extra) = match health {
        Health::Fine => ("#66bb6a", "#2e7d32", ""),
        Health::Slow => ("#ffb74d", "#ef6c00", ""),
        Health::Unfit => ("#ef9a9a", "#c62828", ""),
        Health::Dark => ("#ffffff", "#c62828", " stroke-dasharray=\"2 2\""),
    };
    write!(
        out,
        "<g><title>{label}</title><rect x=\"{x}\" y=\"{y}\" width=\"{SQUARE}\" height=\"{SQUARE}\" fill=\"{fill}\" \
         stroke=\"{stroke}\"{extra}/>"
    )?;
    let (right, bottom, middle) = (x + SQUARE, y + SQUARE, y + SQUARE / 2);
    match health {
        Health::Slow => write!(
            out,
            "<path d=\"M{x} {middle}H{right}\" stroke=\"{stroke}\" stroke-width=\"2\"/>"
        )?,
        Health::Unfit => write!(
            out,
            "<path d=\"M{x} {y}L{right} {bottom}M{right} {y}L{x} {bottom}\" stroke=\"{stroke}\"/>"
        )?,
        Health::Fine | Health::Dark => {}
    }
    writeln!(out, "</g>")
}

fn legend(out: &mut impl Write) -> io::Result<()> {
    text(PAD, 24, "bold", "Fabric", out)?;
    let meanings = [
        (Health::Fine, "up"),
        (Health::Slow, "slower or narrower than most"),
        (Health::Unfit, "not active"),
        (Health::Dark, "dark: expected, not there"),
    ];
    let mut x = 80;
    for (health, meaning) in meanings {
        square_of(health, x, 14, meaning, out)?;
        text(x + STEP + 3, 24, "normal", meaning, out)?;
        x += STEP + meaning.chars().count() * CHARACTER + 2 * PAD;
    }
    Ok(())
}

fn frame(
    x: usize,
    y: usize,
    (width, height): (usize, usize),
    fill: &str,
    stroke: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{fill}\" stroke=\"{stroke}\"/>"
    )
}

fn text(x: usize, y: usize, weight: &str, content: &str, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" font-weight=\"{weight}\" fill=\"#263238\">{}</text>",
        escaped(content)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
