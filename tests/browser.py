"""A headless Chromium for pages: what they log and load, and how they look on a phone and in the dark."""

import base64
import json
import shutil

import pytest

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
)


class Browser:
    """A running Chromium, and the file that it shows."""

    def __init__(self, driver):
        self.driver = driver
        self.find = driver.find_elements

    def open(self, page, width=1280, height=900, dark=False):
        """Shows a file in a window of some size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(page.as_uri())

    def run(self, script, *arguments):
        """Gives what a piece of JavaScript returns, run after the next frame is drawn."""
        drawn = "const done = arguments[arguments.length - 1], given = [...arguments].slice(0, -1);"
        drawn += f"requestAnimationFrame(() => setTimeout(() => done((() => {{ {script} }})()), 0));"
        return self.driver.execute_async_script(drawn, *arguments)

    def picture(self, file):
        """Saves what the window shows."""
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        file.write_bytes(base64.b64decode(shot["data"]))

    def requests(self):
        """The addresses that were asked for since this was last asked."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self):
        """What the console got since this was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


def start(folder):
    """Starts a Chromium with an empty profile in a folder; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium (extra test) drives the browser")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    nowhere = "--host-resolver-rules=MAP * ~NOTFOUND"
    for flag in (*FLAGS.split(), nowhere, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    # Begin with an empty page; that for new windows asks for a thousand files of its own.
    opened = {"session.restore_on_startup": 4, "session.startup_urls": ["about:blank"]}
    options.add_experimental_option("prefs", opened)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    return Browser(webdriver.Chrome(options, webdriver.ChromeService(driver)))
