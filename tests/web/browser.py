"""A headless Chromium, driven over the DevTools protocol through a pipe: no library, no port."""
import base64
import itertools
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time

LAUNCHER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """with Browser() as browser: page = browser.page(); page.open(url)"""

    def __init__(self, scheme="light"):
        assert LAUNCHER, "chromium is not installed: apt-get install chromium"
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="pgseal-browser."))
        to_read, self.out = os.pipe()
        self.inp, to_write = os.pipe()

        def plumb():  # Chromium reads commands from 3 and writes answers to 4
            os.dup2(to_read, 13)
            os.dup2(to_write, 14)
            os.dup2(13, 3)
            os.dup2(14, 4)

        self.process = subprocess.Popen(
            [LAUNCHER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
             "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--remote-debugging-pipe", "--mute-audio",
             f"--user-data-dir={self.home}", "--no-proxy-server", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=plumb, close_fds=False,
            env={**os.environ, "HOME": str(self.home), "TZ": "UTC"})
        os.close(to_read)
        os.close(to_write)
        self.rest, self.numbers, self.pages = b"", itertools.count(1), {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.out)
        os.close(self.inp)
        shutil.rmtree(self.home, ignore_errors=True)

    def _take(self, timeout):
        """One message, or None."""
        while b"\0" not in self.rest:
            if not select.select([self.inp], [], [], max(0, timeout))[0]:
                return None
            piece = os.read(self.inp, 1 << 20)
            assert piece, "the browser ended"
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, message):
        page = self.pages.get(message.get("sessionId"))
        if page and "method" in message:
            page.events.append(message)

    def call(self, method, session=None, timeout=60, **parameters):
        number = next(self.numbers)
        os.write(self.out, json.dumps({"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            message = self._take(end - time.monotonic())
            assert message is not None, f"no answer to {method}"
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def page(self, width=1440, height=900, scheme="light"):
        """In a profile of its own: nobody is signed in."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, context)
        self.pages[session] = page
        for domain in ("Page", "Runtime", "Network", "Log", "DOM", "Accessibility"):
            page.call(f"{domain}.enable")
        page.size(width, height)
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        return page


class Page:
    def __init__(self, browser, session, context):
        self.browser, self.session, self.context, self.events = browser, session, context, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.browser.pages.pop(self.session, None)
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)

    def call(self, method, **parameters):
        return self.browser.call(method, session=self.session, **parameters)

    def size(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def open(self, url):
        self.events.clear()
        self.call("Page.navigate", url=url)

    def js(self, expression):
        """The value of an expression, which may be a promise."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"].get("exception", {}).get("description", done["exceptionDetails"])
        return done["result"].get("value")

    def wait(self, expression, timeout=20):
        end, last = time.monotonic() + timeout, None
        while time.monotonic() < end:
            try:
                if last := self.js(f"((v) => v instanceof Node ? true : v)({expression})"):
                    return last
            except AssertionError as e:
                last = e
            time.sleep(0.1)
        raise AssertionError(f"not within {timeout} s: {expression} ({last})\n{self.text()[:3000]}")

    def text(self):
        return self.js("document.body ? document.body.innerText : ''")

    def wait_text(self, text, timeout=20):
        return self.wait(f"document.body.innerText.includes({json.dumps(text)})", timeout)

    def click(self, selector, text=None):
        """A real click, in the middle of what is there (the first whose text it is)."""
        found = self.wait(f"""(() => {{
          const e = [...document.querySelectorAll({json.dumps(selector)})].find((e) => {json.dumps(text)} === null || e.textContent.trim() === {json.dumps(text)});
          if (!e || e.disabled) return null;
          e.scrollIntoView({{block: 'center'}});
          const r = e.getBoundingClientRect();
          return r.width ? [r.x + r.width / 2, r.y + r.height / 2] : null; }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=found[0], y=found[1], button="left", clickCount=1)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def key(self, key, code=None, number=0, text=None):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or key, windowsVirtualKeyCode=number,
                      **({"text": text} if text and kind == "keyDown" else {}))

    def shot(self, path, whole=False):
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        pathlib.Path(path).write_bytes(base64.b64decode(picture["data"]))

    def complaints(self):
        """What the browser had to say: errors, blocked content, exceptions."""
        self.js("0")
        told = []
        for event in self.events:
            p = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                told.append(p["exceptionDetails"].get("exception", {}).get("description") or p["exceptionDetails"]["text"])
            elif event["method"] == "Log.entryAdded" and p["entry"]["level"] == "error":
                told.append(f"{p['entry']['text']} {p['entry'].get('url', '')}")
        return told

    def transferred(self):
        """Bytes that came over the wire since open()."""
        self.js("0")
        return sum(e["params"]["encodedDataLength"] for e in self.events if e["method"] == "Network.loadingFinished")

    def sign_in(self, url, token):
        self.open(url + "/")
        self.wait("!!document.getElementById('token')")
        self.js("document.getElementById('token').focus()")
        self.type(token)
        self.key("Enter", number=13, text="\r")
        self.wait("!document.getElementById('top').hidden")
        self.events.clear()  # it was told, with a 401, that nobody was signed in yet
