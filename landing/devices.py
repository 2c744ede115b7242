"""The device class of a user agent: one of nine words, the same for every table.

The recognition is ua-parser's (uap-core regexes, Rust backend); here stands only the small map
from what it recognises to our nine classes, with the few hints it does not give. Each distinct
agent is classified once, when it first lands.
"""

import functools
import re

from ua_parser import parse

UNKNOWN = "Unknown"
CLASSES = frozenset(
    ("Desktop", "Phone", "Tablet", "TV", "Console", "Watch", "Robot", "Other", UNKNOWN)
)

# command-line clients, HTTP libraries, monitors, attack tools; crawlers are "Spider" to ua-parser
_ROBOT = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|curl/|wget|libwww|httpie|python|aiohttp|httpx|urllib|okhttp"
    r"|java/|apache-http|go-http|go-resty|axios|node|undici|got \(|guzzle|php/|ruby|faraday|perl"
    r"|rest-client|postman|insomnia|k6/|jmeter|locust|headless|phantomjs|selenium|playwright"
    r"|puppeteer|sqlmap|nikto|nmap|masscan|zgrab|nessus|nuclei|gobuster|dirbuster|wpscan|hydra"
    r"|metasploit|burp|acunetix|qualys|censys|shodan|uptime|pingdom|statuscake|monitor|datadog"
    r"|newrelic|site24x7|prometheus|grafana|kube-probe|healthcheck|elb-health|googlehc|zabbix"
    r"|nagios|check_http|lighthouse|pagespeed|gtmetrix|facebookexternalhit|whatsapp/|slack-img"
    r"|telegrambot|feedfetcher|feedly|w3c_validator|mediapartners|ia_archiver|powershell"
    r"|winhttp|libcurl|dart/|dart:io|terraform|ansible|openssl"
    r"|scrapy|mechanize|colly|reqwest|hyper/|ureq|grpc-|fetch/|bun/|deno/|http_request",
    re.I,
)
_TV = re.compile(
    r"smart-?tv|smarttv|\btv\b|appletv|apple tv|tvos|hbbtv|netcast|web0s|webos|tizen.*tv|roku|"
    r"crkey|chromecast|aft[a-z]+\b|bravia|viera|aquos|googletv|google tv|android ?tv|dtv|"
    r"netrange|vidaa|philipstv|opera tv|shield android",
    re.I,
)
_CONSOLE = re.compile(r"playstation|xbox|nintendo|wii\b|steam ?deck|psp\b|ps vita", re.I)
_WATCH = re.compile(r"watch ?os|apple ?watch|\bwatch\d|wear ?os|sm-r[89]\d\d|galaxy watch", re.I)
_TABLET = re.compile(
    r"ipad|tablet|kindle|silk/|kf[a-z]{2,5}\b|playbook|sm-[tx]\d{3}|nexus (?:7|9|10)\b|"
    r"lenovo tb|xoom|mediapad|touchpad",
    re.I,
)
_OTHER = re.compile(
    r"tesla/|qtcarbrowser|carplay|android automotive|family ?hub|fridge|"
    r"oculus|quest \d|smart ?display|crkey.*nest",
    re.I,
)
_PHONE_SYSTEMS = {
    "iOS",
    "Android",
    "Windows Phone",
    "BlackBerry OS",
    "Firefox OS",
    "KaiOS",
    "Symbian OS",
    "HarmonyOS",
    "Windows Mobile",
    "Bada",
    "MeeGo",
}
_DESKTOP_SYSTEMS = {
    "Windows",
    "Mac OS X",
    "Linux",
    "Ubuntu",
    "Chrome OS",
    "Fedora",
    "Debian",
    "FreeBSD",
    "OpenBSD",
    "NetBSD",
    "Solaris",
    "Red Hat",
    "SUSE",
    "Gentoo",
    "Mint",
    "CentOS",
    "Arch Linux",
    "Mac OS",
}


# what an erasure leaves of a user agent: this and its class
GENERALISED = "(erased) "


@functools.lru_cache(maxsize=65_536)
def device_class(user_agent: str) -> str:
    """One of Desktop Phone Tablet TV Console Watch Robot Other Unknown."""
    if user_agent.startswith(GENERALISED) and user_agent[len(GENERALISED) :] in CLASSES:
        return user_agent[len(GENERALISED) :]
    text = user_agent[:2000]
    parsed = parse(text).with_defaults()
    family, system, device = (
        parsed.user_agent.family,
        parsed.os.family,
        parsed.device.family,
    )
    if device == "Spider" or _ROBOT.search(text):
        return "Robot"
    described = f"{text} {device}"
    for pattern, name in (
        (_OTHER, "Other"),
        (_CONSOLE, "Console"),
        (_WATCH, "Watch"),
        (_TV, "TV"),
        (_TABLET, "Tablet"),
    ):
        if pattern.search(described):
            return name
    if system in _PHONE_SYSTEMS or "Mobile" in text or device in ("iPhone", "iPod"):
        # Android tablets leave "Mobile" out of their user agent, phones have it
        return "Tablet" if system == "Android" and "Mobile" not in text else "Phone"
    if system in _DESKTOP_SYSTEMS or system.startswith("Windows"):
        return "Desktop"
    return UNKNOWN if family == system == "Other" else "Other"
