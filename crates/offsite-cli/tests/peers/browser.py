"""Shows a page to Chromium, by its DevTools protocol over a pipe, and says what became of it as JSON.

    browser.py PAGE FOLDER

In the folder are left the page, screenshots of it, and it as it is printed. Nothing of the page is changed
but which of its details are open.
"""

import base64
import html.parser
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import time

VIEWS = [(width, scheme) for width in (1280, 900, 390) for scheme in ("light", "dark")]
PATIENCE = 120
# So many of the details are looked at: of very many, all are alike.
OPEN = 40
# Of a page with more characters there is no screenshot of the whole.
LONG = 20_000

MEASURE = r"""
(() => {
  const cards = getComputedStyle(document.querySelector('.sets tbody tr') ?? document.body).display === 'grid';
  // In a box that scrolls, or heard and not seen.
  const inBox = element => element.closest('.box') || (cards && element.closest('.sets thead'));
  // What a bar for scrolling leaves.
  const room = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll('body *')].filter(element => {
    const box = element.getBoundingClientRect();
    return !inBox(element) && box.width > 0 && (box.right > room + 0.5 || box.left < -0.5);
  });
  const scrolling = [...document.querySelectorAll('.box')].filter(box =>
    box.checkVisibility() && box.scrollWidth > box.clientWidth + 1);
  const numbers = colour => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const contrast = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const told = [...document.querySelectorAll('body *')].filter(element => element.checkVisibility() &&
    [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  const texts = told.map(element => [contrast(numbers(getComputedStyle(element).color), ground(element)), element]);
  const drawn = [...document.querySelectorAll('svg path')].filter(element => element.checkVisibility() &&
    !element.closest('.signs') && !element.matches('.held, .held-area'));
  const marks = drawn.map(element => [contrast(numbers(getComputedStyle(element).fill), ground(element)), element]);
  const worst = of => of.reduce((least, one) => one[0] < least[0] ? one : least, [21, document.body]);
  const tell = element => `${element.tagName}.${element.getAttribute('class')}: ${element.textContent.slice(0, 60)}`;
  return {
    title: document.title,
    scrollWidth: document.documentElement.scrollWidth,
    innerWidth, room,
    wide: wide.slice(0, 5).map(tell),
    scrolling: scrolling.slice(0, 5).map(tell),
    texts: texts.length,
    contrast: worst(texts)[0], contrastOf: tell(worst(texts)[1]),
    marks: marks.length,
    contrastOfMarks: worst(marks)[0],
    ground: getComputedStyle(document.body).backgroundColor,
    smallest: Math.min(...told.map(element => parseFloat(getComputedStyle(element).fontSize))),
    cards,
    owned: window.owned ?? null,
    text: document.body.innerText,
  };
})()
"""


class Browser:
    def __init__(self, folder):
        (ours_in, theirs_out), (theirs_in, ours_out) = os.pipe(), os.pipe()

        def give():
            # The protocol's ends are these two, whatever lay there.
            kept_in, kept_out = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(kept_in, 3)
            os.dup2(kept_out, 4)

        profile = folder / "profile"
        profile.mkdir()
        command = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
            "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
        ]
        log = open(folder / "chromium.log", "wb")
        self.process = subprocess.Popen(
            command, preexec_fn=give, close_fds=False, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        os.close(theirs_in)
        os.close(theirs_out)
        self.input, self.output = os.fdopen(ours_in, "rb", 0), os.fdopen(ours_out, "wb", 0)
        self.numbers, self.read, self.session, self.events = itertools.count(1), b"", None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            self.call(f"{domain}.enable")

    def message(self):
        while b"\0" not in self.read:
            more = self.input.read(1 << 20)
            if not more:
                raise SystemExit("chromium has ended")
            self.read += more
        text, _, self.read = self.read.partition(b"\0")
        return json.loads(text)

    def call(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.output.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for event in self.events:
                if event.get("method") == method:
                    return
            self.events.append(self.message())
        raise SystemExit(f"no {method}")

    def show(self, page, width, scheme):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 700)
        self.media("screen", scheme)
        self.events = []
        self.call("Page.navigate", url=page.as_uri())
        self.wait_for("Page.loadEventFired")

    def media(self, medium, scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=medium, features=features)

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise SystemExit(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def text(self):
        return self.evaluate("document.body.innerText")

    def complaints(self):
        """What the console has been told."""
        self.evaluate("0")
        entries = [event["params"]["entry"]["text"] for event in self.events if event.get("method") == "Log.entryAdded"]
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        return entries + [json.dumps(event["params"]) for event in self.events if event.get("method") in kinds]

    def screenshot(self, path, whole=True):
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))

    def roles(self):
        """How often each role is heard, and the names of pictures."""
        roles, pictures = {}, []
        for node in self.call("Accessibility.getFullAXTree")["nodes"]:
            role = "" if node.get("ignored") else node["role"]["value"]
            roles[role] = roles.get(role, 0) + 1
            if role in ("image", "img"):
                pictures.append(node.get("name", {}).get("value", ""))
        return roles, pictures

    def close(self):
        self.session = None
        self.call("Browser.close")
        self.process.wait(PATIENCE)


class Strict(html.parser.HTMLParser):
    """What is wrong with a page's markup."""

    void = {"meta", "br", "img"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.ids, self.links, self.tags = [], [], set(), set(), {}
        self.feed(text)
        self.close()
        self.wrong += [f"{tag} is not closed" for tag in self.open]
        self.wrong += [f"{link} leads nowhere" for link in self.links if link not in self.ids]

    def handle_starttag(self, tag, attributes):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        names = [name for name, _ in attributes]
        if len(set(names)) < len(names):
            self.wrong.append(f"an attribute of {tag} comes twice")
        for name, value in attributes:
            if name == "id" and value in self.ids:
                self.wrong.append(f"the id {value} comes twice")
            if name == "id":
                self.ids.add(value)
            if name in ("href", "src"):
                self.links.add(value.removeprefix("#")) if value.startswith("#") else self.wrong.append(f"{tag} {value}")
            if name == "aria-labelledby":
                self.links.add(value)
            if name == "style" or name.startswith("on"):
                self.wrong.append(f"{tag} has {name}")
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"{tag} is closed out of turn, at {self.getpos()}")


def main():
    page, folder = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    folder.mkdir(exist_ok=True)
    (folder / "page.html").write_text(page.read_text())
    markup = Strict(page.read_text())
    browser = Browser(folder)
    report = {"views": [], "markup": {"wrong": markup.wrong, "tags": markup.tags}}
    for width, scheme in VIEWS:
        start = time.monotonic()
        browser.show(page, width, scheme)
        took = time.monotonic() - start
        browser.screenshot(folder / f"{width}-{scheme}-top.png", whole=False)
        if len(browser.text()) < LONG:
            browser.screenshot(folder / f"{width}-{scheme}.png")
        roles, pictures = browser.roles()
        link = browser.evaluate("document.querySelector('.sets tbody tr:last-child a')?.getAttribute('href') ?? null")
        opened = None
        if link:
            browser.evaluate("document.querySelectorAll('details').forEach(details => details.open = false)")
            browser.evaluate("document.querySelector('.sets tbody tr:last-child a').click()")
            opened = browser.evaluate(f"document.getElementById({json.dumps(link[1:])}).closest('details').open")
        browser.evaluate(f"[...document.querySelectorAll('details')].slice(0, {OPEN}).forEach(one => one.open = true)")
        view = browser.evaluate(MEASURE)
        view.update(width=width, scheme=scheme, seconds=took, complaints=browser.complaints(), roles=roles,
                    pictures=pictures, linkOpens=opened)
        report["views"].append(view)
    browser.show(page, 1280, "light")
    # A medium that is emulated counts on paper as well.
    browser.media("", "light")
    printed = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    (folder / "page.pdf").write_bytes(printed)
    # As wide as what is printed of A4: 210 mm, less 12 mm on each side.
    browser.call("Emulation.setDeviceMetricsOverride", width=703, height=1000, deviceScaleFactor=1, mobile=False)
    browser.media("print", "dark")
    browser.evaluate(f"[...document.querySelectorAll('details')].slice(0, {OPEN}).forEach(one => one.open = true)")
    print_view = browser.evaluate(MEASURE)
    browser.screenshot(folder / "print-top.png", whole=False)
    report["print"] = {
        "pages": len(re.findall(rb"/Type\s*/Page\b", printed)),
        "sizes": sorted({box.decode() for box in re.findall(rb"/MediaBox\s*\[([^]]*)\]", printed)}),
        "scrollWidth": print_view["scrollWidth"], "room": print_view["room"], "wide": print_view["wide"],
        "scrolling": print_view["scrolling"],
        "contrast": print_view["contrast"], "ground": print_view["ground"],
    }
    browser.close()
    json.dump(report, sys.stdout)


main()
