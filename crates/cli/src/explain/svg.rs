//! An explanation as a picture: the funnel from all clusters to those that are used, and a bar
//! for each possible cluster. Plain SVG without scripts or fonts of its own; colours follow the
//! viewer's preference for light or dark.

use std::fmt::Write as _;

use hanse_hub::explain::{Explained, Funnel, Row};

use super::{
    advice,
    text::{amounts, limit},
};

/// Width of the picture, in its own units; heights follow from what it shows.
const WIDTH: u64 = 960;
const LEFT: u64 = 24;
/// Where bars begin, and how long the longest is.
const BAR: u64 = 250;
const LENGTH: u64 = 420;
const LINE: u64 = 24;
/// So many clusters have a bar.
const SHOWN: usize = 40;
/// Characters of a line of prose.
const COLUMNS: usize = 118;

const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #1c2733; }
  .title { font-size: 18px; font-weight: 600; }
  .part { font-weight: 600; }
  .faint { fill: #5a6b7b; }
  .paper { fill: #ffffff; }
  .all { fill: #c3d0dc; }
  .out { fill: #c9553d; }
  .good { fill: #2f7d5b; }
  .room { fill: #dfe8ee; }
  .kept { fill: #2f6fa8; }
  .new { fill: #6fb1dd; }
  .bound { stroke: #b5471f; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e3e9ee; }
    .faint { fill: #9db0c0; }
    .paper { fill: #14191f; }
    .all { fill: #52606d; }
    .out { fill: #dd7660; }
    .good { fill: #57b58a; }
    .room { fill: #2b3640; }
    .kept { fill: #4f94d0; }
    .new { fill: #9accee; }
    .bound { stroke: #f0976f; }
  }
";

/// The picture of an explanation.
pub(crate) fn draw(explained: &Explained) -> String {
    let mut page = Page { body: String::new(), y: 20 };
    page.text(LEFT, "title", &explained.template);
    page.next();
    let policy = explained.policy.as_deref().unwrap_or("no policy any more");
    let needs = amounts(&explained.needs);
    let each = if needs.is_empty() { String::new() } else { format!(" ({needs} each)") };
    page.text(LEFT, "faint", &format!("{policy}, {} replicas{each}", explained.replicas));
    page.next();
    if let Some(decided) = &explained.decided {
        page.prose(&format!("decided: {}: {}", decided.reason, decided.message));
    }
    if let Some(funnel) = &explained.funnel {
        funnel_of(&mut page, funnel);
        clusters(&mut page, funnel);
        page.prose(&format!("outcome: {}: {}", funnel.outcome.reason, funnel.outcome.message));
        for note in &funnel.outcome.notes {
            page.prose(&format!("note: {}", note.message));
        }
    } else {
        let names: Vec<&str> = explained.standing.iter().map(|c| c.name.as_str()).collect();
        page.prose(&format!("stands in: {}", names.join(", ")));
    }
    let advice = advice::of(explained);
    if !advice.is_empty() {
        page.heading("What to change");
        for line in &advice {
            page.prose(&format!("\u{2022} {line}"));
        }
    }
    page.finish(&explained.template)
}

/// What is drawn so far, and how far down.
struct Page {
    body: String,
    y: u64,
}

impl Page {
    fn next(&mut self) {
        self.y += LINE;
    }

    fn text(&mut self, x: u64, class: &str, text: &str) {
        let baseline = self.y + 13;
        writeln!(
            self.body,
            "<text x=\"{x}\" y=\"{baseline}\" class=\"{class}\">{}</text>",
            escape(text)
        )
        .expect("writing to a string cannot fail");
    }

    fn bar(&mut self, x: u64, length: u64, class: &str) {
        let y = self.y;
        if length > 0 {
            writeln!(
                self.body,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{length}\" height=\"16\" rx=\"2\" \
                 class=\"{class}\"/>"
            )
            .expect("writing to a string cannot fail");
        }
    }

    fn mark(&mut self, x: u64) {
        let (top, bottom) = (self.y - 3, self.y + 19);
        writeln!(
            self.body,
            "<line x1=\"{x}\" y1=\"{top}\" x2=\"{x}\" y2=\"{bottom}\" class=\"bound\"/>"
        )
        .expect("writing to a string cannot fail");
    }

    fn heading(&mut self, text: &str) {
        self.y += 12;
        self.text(LEFT, "part", text);
        self.next();
    }

    /// Text over as many lines as it needs.
    fn prose(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.chars().count() + word.chars().count() >= COLUMNS {
                self.text(LEFT, "", &line);
                self.y += 19;
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.text(LEFT, "", &line);
        self.y += 21;
    }

    fn finish(self, title: &str) -> String {
        let height = self.y + 20;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>Why {} is where it is\
             </title>\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"{WIDTH}\" \
             height=\"{height}\"/>\n{}</svg>\n",
            escape(title),
            self.body
        )
    }
}

fn funnel_of(page: &mut Page, funnel: &Funnel) {
    page.heading("From all clusters to those that are used");
    let all = funnel.considered.max(funnel.clusters.len()).max(1) as u64;
    let length = |count: u64| (count * LENGTH).div_ceil(all).min(LENGTH);
    let total = funnel.considered as u64;
    let mut left = total;
    stage(page, "considered", (0, length(total)), "all", &total.to_string());
    for entry in &funnel.rejected {
        let count = entry.count as u64;
        let start = left.saturating_sub(count);
        let more = entry.count.saturating_sub(entry.names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let label = format!("{count}: {}{more}", entry.names.join(", "));
        stage(page, &entry.reason, (length(start), length(left) - length(start)), "out", &label);
        left = start;
    }
    let possible = funnel.clusters.len() as u64;
    stage(page, "possible", (0, length(possible)), "all", &possible.to_string());
    if funnel.tiers.len() > 1 {
        for tier in &funnel.tiers {
            let room = tier.room.map_or_else(|| "?".to_owned(), |room| room.to_string());
            let label =
                format!("{} clusters, room {room}, {} placed", tier.clusters, tier.replicas);
            let class = if tier.replicas > 0 { "good" } else { "all" };
            let name = format!("tier {}", tier.tier);
            stage(page, &name, (0, length(tier.clusters as u64)), class, &label);
        }
    }
    for spread in &funnel.spread {
        let most = spread.max.map_or_else(String::new, |max| format!(" to {max}"));
        let (possible, used) = (spread.possible.len(), spread.used.len());
        let label = format!("{}{most} wanted, {possible} possible, {used} used", spread.min);
        let name = format!("spread over {}", spread.key);
        let class = if used >= spread.min as usize { "good" } else { "out" };
        stage(page, &name, (0, length(used as u64)), class, &label);
    }
    let used = funnel.clusters.iter().filter(|row| row.count > 0).count() as u64;
    stage(page, "used", (0, length(used)), "good", &used.to_string());
}

fn stage(page: &mut Page, name: &str, (from, length): (u64, u64), class: &str, label: &str) {
    page.text(LEFT, "", name);
    page.bar(BAR + from, length.max(2), class);
    page.text(BAR + LENGTH + 12, "faint", &shorten(label, 40));
    page.next();
}

fn clusters(page: &mut Page, funnel: &Funnel) {
    if funnel.clusters.is_empty() {
        page.y += 12;
        return;
    }
    page.heading(&format!("Replicas by cluster, {}", funnel.strategy));
    let mut order: Vec<&Row> = funnel.clusters.iter().collect();
    order.sort_by_key(|row| row.count == 0 && row.held == 0);
    // Room without end would make every count a hair: a bar ends at twice what is asked for.
    let most = order.iter().map(|row| u64::from(row.count.max(row.held))).max().unwrap_or(0);
    let scale = (2 * u64::from(funnel.replicas)).min(4 * most).max(most).max(1);
    let length = |count: u64| count.min(scale) * LENGTH / scale;
    for row in order.iter().take(SHOWN) {
        page.text(LEFT, "", &shorten(&row.name, 32));
        let room = row
            .fits
            .map_or(scale, |fits| u64::from(row.held) + u64::from(fits) + u64::from(row.elastic));
        page.bar(BAR, length(room), "room");
        let kept = u64::from(row.held.min(row.count));
        page.bar(BAR, length(u64::from(row.count)), "new");
        page.bar(BAR, length(kept), "kept");
        for bound in [Some(row.min).filter(|min| *min > 0), row.max].into_iter().flatten() {
            if u64::from(bound) <= scale {
                page.mark(BAR + length(u64::from(bound)));
            }
        }
        page.text(BAR + LENGTH + 12, "faint", &shorten(&label(row), 46));
        page.next();
    }
    if order.len() > SHOWN {
        page.prose(&format!("and {} more that hold nothing", order.len() - SHOWN));
    }
    page.y += 4;
    for (x, class, text) in
        [(LEFT, "kept", "stays"), (LEFT + 90, "new", "comes"), (LEFT + 180, "room", "room")]
    {
        page.bar(x, 16, class);
        page.text(x + 24, "faint", text);
    }
    page.mark(LEFT + 270);
    page.text(LEFT + 280, "faint", "min or max");
    page.y += LINE + 8;
}

fn label(row: &Row) -> String {
    let mut parts = vec![row.count.to_string()];
    if row.held > 0 {
        parts.push(format!("had {}", row.held));
    }
    parts.push(match row.fits {
        Some(fits) => format!("{fits} more fit"),
        None => "room unknown".to_owned(),
    });
    if row.elastic > 0 {
        parts.push(format!("{} elastic", row.elastic));
    }
    if let Some(weight) = row.weight {
        parts.push(format!("weight {weight}"));
    }
    let limit = limit(row);
    if !limit.is_empty() {
        parts.push(limit.to_owned());
    }
    parts.join(", ")
}

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most - 1).collect();
    short.push('\u{2026}');
    short
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Control characters have no place in XML.
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}
