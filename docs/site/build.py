#!/usr/bin/env python3
"""build.py: builds the site of the documentation with mdBook, in target/book/html.

The pages stay where they are in the repository. This script copies them into one folder, together with those that live elsewhere
(the chart's README, the changelog and the like), and bends the links between them. Links to other files of the repository become
plain text, or links to NARTHEX_REPOSITORY if that names the address of a forge. In the end it follows every link and anchor of the
built pages, and fails if one is dead."""

import html.parser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/docs"))

from markdown import CODE_SPAN, FENCE, LINK  # noqa: E402

DOCS = ROOT / "docs"
OUT = ROOT / "target/book"
# Pages from elsewhere, and where the site has them.
ELSEWHERE = {
    "charts/narthex/README.md": "chart.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "tests/cluster/README.md": "cluster-on-one-machine.md",
}
# Folders of files that the site shows on a page of their own.
FOLDERS = {
    "examples": ("Example of each annotation", "One manifest for each annotation of narthex. `narthex check` accepts every one of them."),
    "examples-apps": ("Whole applications", "The files that [examples](../examples-apps.md) describes."),
    "balancers": ("Balancers before the nodes", "The files that [high availability](../high-availability.md) describes."),
}
LANGUAGES = {".yaml": "yaml", ".conf": "nginx", ".cfg": "text", ".json": "json"}


def target_of(source, link):
    """Where a link of a page leads in the site: a new link, or nothing if the site does not have it."""
    path, hash_, fragment = link.partition("#")
    file = (source.parent / unquote(path)).resolve()
    here = place(source).parent
    if file == ROOT / "README.md":
        new = Path("introduction.md")
    elif file.is_relative_to(ROOT) and str(file.relative_to(ROOT)) in ELSEWHERE:
        new = Path(ELSEWHERE[str(file.relative_to(ROOT))])
    elif file.is_relative_to(DOCS) and file.is_dir() and str(file.relative_to(DOCS)) in FOLDERS:
        new = file.relative_to(DOCS) / "index.md"
    elif file.is_relative_to(DOCS) and file.is_file():
        new = file.relative_to(DOCS)
    else:
        return None
    return os.path.relpath(new, here) + hash_ + fragment


def place(source):
    """Where the site has a page."""
    name = str(source.relative_to(ROOT))
    return Path(ELSEWHERE[name]) if name in ELSEWHERE else source.relative_to(DOCS)


def bend(source, text):
    """A page with the links of the site. Code is left as it is."""
    repository = os.environ.get("NARTHEX_REPOSITORY", "").rstrip("/")

    def link(match):
        whole, target = match[0], match[1]
        if "://" in target or target.startswith(("#", "mailto:")):
            return whole
        new = target_of(source, target)
        if new is not None:
            return whole.replace(f"({target}", f"({new}")
        label = whole[whole.index("[") + 1 : whole.rindex("](")]
        if repository:
            file = os.path.relpath((source.parent / target.partition("#")[0]).resolve(), ROOT)
            return f"[{label}]({repository}/{file})"
        return label

    def line(text):
        spans = []

        def keep(span):
            spans.append(span[0])
            return f"\0{len(spans) - 1}\0"

        return re.sub("\0(\\d+)\0", lambda mark: spans[int(mark[1])], LINK.sub(link, CODE_SPAN.sub(keep, text)))

    out, fence, run = [], None, []
    for each in text.splitlines():
        match = FENCE.match(each)
        if fence is None and not match and not each.startswith("    "):
            run.append(each)
            continue
        out += line("\n".join(run)).splitlines() if run else []
        run = []
        if match and fence is None:
            fence = match[2]
        elif match and match[2].startswith(fence) and not match[3].strip():
            fence = None
        out.append(each)
    out += line("\n".join(run)).splitlines() if run else []
    return "\n".join(out) + "\n"


def stage(src):
    """Puts everything into one folder."""
    shutil.rmtree(OUT, ignore_errors=True)
    src.mkdir(parents=True)
    for name in ("book.toml", "site.css"):
        shutil.copy(DOCS / "site" / name, OUT)
    for file in sorted(DOCS.rglob("*")):
        if file.is_dir() or file.is_relative_to(DOCS / "site"):
            continue
        to = src / file.relative_to(DOCS)
        to.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            to.write_text(bend(file, file.read_text()))
        else:
            shutil.copy(file, to)
    for name, to in ELSEWHERE.items():
        if (ROOT / name).exists():
            (src / to).write_text(bend(ROOT / name, (ROOT / name).read_text()))
    for folder, (title, text) in FOLDERS.items():
        page = [f"# {title}", "", text, ""]
        for file in sorted((DOCS / folder).iterdir()):
            body = file.read_text().rstrip("\n")
            page += [f"## {file.name}", "", f"```{LANGUAGES.get(file.suffix, 'text')}", body, "```", ""]
        (src / folder / "index.md").write_text("\n".join(page))
    summarize(src)


def summarize(src):
    """Adds to the table of contents what docs/SUMMARY.md cannot name: pages from elsewhere, folders, and pages it forgot."""
    text = (src / "SUMMARY.md").read_text()
    text = text.replace("<!-- chart -->", "- [The Helm chart](chart.md)")
    text = text.replace("<!-- examples -->", "\n".join(f"- [{title}]({folder}/index.md)" for folder, (title, _) in FOLDERS.items()))
    names = {"changelog.md": "Changelog", "contributing.md": "Contributing", "reporting.md": "Reporting a vulnerability"}
    names |= {"conduct.md": "Code of conduct", "cluster-on-one-machine.md": "A cluster on one machine"}
    text = text.replace("<!-- project -->", "\n".join(f"- [{title}]({to})" for to, title in names.items() if (src / to).exists()))
    listed = {(src / match[1]).resolve() for match in LINK.finditer(text)}
    rest = [page for page in sorted(src.rglob("*.md")) if page.name != "SUMMARY.md" and page.resolve() not in listed]
    if rest:
        text += "\n# Other pages\n\n"
        for page in rest:
            title = re.search(r"^# (.*)$", page.read_text(), re.M)
            text += f"- [{title[1] if title else page.stem}]({page.relative_to(src)})\n"
    (src / "SUMMARY.md").write_text(text)


class Page(html.parser.HTMLParser):
    """The anchors and links of a built page."""

    def __init__(self):
        super().__init__()
        self.ids, self.links = set(), []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for name in ("id", "name"):
            if attributes.get(name):
                self.ids.add(attributes[name])
        for name in ("href", "src"):
            if attributes.get(name):
                self.links.append(attributes[name])


def dead(site):
    """The links of the built pages that lead nowhere."""
    pages = {}
    for file in site.rglob("*.html"):
        pages[file] = Page()
        pages[file].feed(file.read_text())
    for file, page in sorted(pages.items()):
        # These hold all pages, or are shown under any address, so their links are not relative to themselves.
        if file.name in ("print.html", "404.html", "toc.html"):
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            to = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if to.is_dir():
                to = to / "index.html"
            if not to.exists():
                yield f"{file.relative_to(site)}: {link} is not there"
            elif parts.fragment and to in pages and unquote(parts.fragment) not in pages[to].ids:
                yield f"{file.relative_to(site)}: {link} has no such anchor"


def main():
    mdbook = shutil.which("mdbook")
    if mdbook is None:
        sys.exit("build.py: mdbook is not in PATH; `make docs` installs it")
    stage(OUT / "src")
    subprocess.run([mdbook, "build", str(OUT)], check=True, env=os.environ | {"RUST_LOG": "warn"})
    wrong = list(dead(OUT / "html"))
    for line in wrong:
        print(line)
    if wrong:
        sys.exit(f"{len(wrong)} dead links")
    print(f"{len(list((OUT / 'html').rglob('*.html')))} pages in {OUT / 'html'}")


if __name__ == "__main__":
    main()
