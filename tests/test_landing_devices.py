"""Real-world user agents and their device class."""

import pytest

from landing.devices import device_class

MOZILLA = "Mozilla/5.0"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"

AGENTS = {
    "Desktop": [
        f"{MOZILLA} (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/131.0.0.0 Safari/537.36",
        f"{MOZILLA} (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/131.0 Safari/537.36 Edg/131.0",
        f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/17.6 Safari/605.1.15",
        f"{MOZILLA} (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
        f"{MOZILLA} (X11; Ubuntu; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
        f"{MOZILLA} (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/130.0.0.0 Safari/537.36",
        f"{MOZILLA} (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko",
        f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7)",
        f"{MOZILLA} (Windows NT 10.0; Win64; x64) {WEBKIT} Slack/4.41 Chrome/130 Electron/33 "
        "Safari/537.36",
    ],
    "Phone": [
        f"{MOZILLA} (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 "
        "(KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
        f"{MOZILLA} (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 "
        "(KHTML, like Gecko) CriOS/131.0 Mobile/15E148 Safari/604.1",
        f"{MOZILLA} (Linux; Android 14; Pixel 8) {WEBKIT} Chrome/131.0 Mobile Safari/537.36",
        f"{MOZILLA} (Linux; Android 10; K) {WEBKIT} Chrome/131.0.0.0 Mobile Safari/537.36",
        f"{MOZILLA} (Linux; Android 13; SM-S911B) {WEBKIT} Chrome/130.0 Mobile Safari/537.36",
        f"{MOZILLA} (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0",
        "Shop/12 CFNetwork/1410.0.3 Darwin/22.6.0",
        f"{MOZILLA} (iPod touch; CPU iPhone OS 12_0 like Mac OS X) AppleWebKit/604.1 Mobile/15E148",
        f"{MOZILLA} (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950) {WEBKIT} "
        "Chrome/52.0 Mobile Safari/537.36 Edge/15.15063",
    ],
    "Tablet": [
        f"{MOZILLA} (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/17.6 Mobile/15E148 Safari/604.1",
        f"{MOZILLA} (Linux; Android 13; SM-X700) {WEBKIT} Chrome/131.0.0.0 Safari/537.36",
        f"{MOZILLA} (Linux; Android 9; KFMAWI) {WEBKIT} Silk/130.1 like Chrome/130.0 Safari/537.36",
        f"{MOZILLA} (X11; U; Linux armv7l like Android; en-us) AppleWebKit/531.2+ (KHTML, like "
        "Gecko) Version/5.0 Safari/533.2+ Kindle/3.0+",
        f"{MOZILLA} (Linux; Android 7.0; Nexus 9) {WEBKIT} Chrome/119.0.0.0 Safari/537.36",
        f"{MOZILLA} (Android 14; Tablet; rv:133.0) Gecko/133.0 Firefox/133.0",
    ],
    "TV": [
        f"{MOZILLA} (SMART-TV; Linux; Tizen 6.0) {WEBKIT} Version/6.0 TV Safari/537.36",
        f"{MOZILLA} (Web0S; Linux/SmartTV) {WEBKIT} Chrome/79.0 Safari/537.36 WebAppManager",
        "Roku/DVP-12.5 (12.5.0.4174-55)",
        "AppleTV11,1/11.1",
        "Mozilla/5.0 (Apple TV; CPU AppleTV OS 17_5 like Mac OS X)",
        f"{MOZILLA} (Linux; Android 9; AFTKA) {WEBKIT} Silk/112.5 Chrome/112.0 Safari/537.36",
        f"{MOZILLA} (X11; Linux armv7l) {WEBKIT} Chrome/90.0 Safari/537.36 CrKey/1.56.500000",
        f"{MOZILLA} (Linux; Android 12; BRAVIA 4K VH2) {WEBKIT} Chrome/108.0 Safari/537.36",
        "HbbTV/1.5.1 (+DRM; Vendor; Model; 1.0; ; _TV_X_2021;)",
    ],
    "Console": [
        f"{MOZILLA} (PlayStation; PlayStation 5/6.00) AppleWebKit/605.1.15 (KHTML, like Gecko)",
        f"{MOZILLA} (PlayStation 4 11.00) AppleWebKit/605.1.15 (KHTML, like Gecko)",
        f"{MOZILLA} (Windows NT 10.0; Win64; x64; Xbox; Xbox One) {WEBKIT} Chrome/48 Edge/14",
        f"{MOZILLA} (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/609.4 (KHTML, like Gecko)",
    ],
    "Watch": [
        "Shop/12 CFNetwork/1410.0.3 Darwin/22.6.0 (Apple Watch; watchOS 10.1)",
        "atc/1.0 watchOS/10.5 model/Watch6,2 hwp/t8301 build/21T575",
        f"{MOZILLA} (Linux; Android 11; SM-R870) {WEBKIT} Chrome/98.0 Mobile Safari/537.36",
    ],
    "Robot": [
        "curl/8.5.0",
        "Wget/1.21.4",
        "python-requests/2.31.0",
        "Python/3.11 aiohttp/3.9.1",
        "okhttp/4.12.0",
        "Go-http-client/2.0",
        "axios/1.7.2",
        "Java/17.0.9",
        "PostmanRuntime/7.36.1",
        "Ruby",
        "GuzzleHttp/7",
        "Dart/3.4 (dart:io)",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        f"{MOZILLA} (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) {WEBKIT} Chrome/131.0 Mobile "
        "Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
        "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
        "kube-probe/1.29",
        "ELB-HealthChecker/2.0",
        "Datadog/Synthetics",
        "sqlmap/1.7.11#stable (https://sqlmap.org)",
        "Mozilla/5.00 (Nikto/2.1.6) (Evasions:None) (Test:Port Check)",
        "Mozilla/5.0 zgrab/0.x",
        "Nuclei - Open-source project (github.com/projectdiscovery/nuclei)",
        f"{MOZILLA} (X11; Linux x86_64) {WEBKIT} HeadlessChrome/131.0.0.0 Safari/537.36",
        "Scrapy/2.11 (+https://scrapy.org)",
        "GPTBot/1.2 (+https://openai.com/gptbot)",
    ],
    "Other": [
        f"{MOZILLA} (X11; GNU/Linux) {WEBKIT} Chromium/88.0 Chrome/88.0 Safari/537.36 "
        "Tesla/2024.2.7-abcdef",
        f"{MOZILLA} (Linux; Android 12; Quest 3) {WEBKIT} OculusBrowser/33.0 Chrome/126 VR Safari",
        f"{MOZILLA} (Linux; Tizen 4.0; FamilyHub) {WEBKIT} SamsungBrowser/2.2 Chrome/63.0",
    ],
    "Unknown": ["x", "-", "...", "Mozilla/5.0", "null", "\U0001f600", "0" * 5000, "☃ ☃"],
}


@pytest.mark.parametrize(
    ("expected", "agent"),
    [(expected, agent) for expected, agents in AGENTS.items() for agent in agents],
)
def test_an_agent_has_its_device_class(expected, agent):
    assert device_class(agent) == expected
