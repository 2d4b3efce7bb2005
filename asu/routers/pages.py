"""Pages for people."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from asu import __version__

router = APIRouter(include_in_schema=False)

PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>OpenWrt firmware on demand</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem }}</style>
<h1>OpenWrt firmware on demand</h1>
<p>This server builds OpenWrt images with exactly the packages that a device asks for. Devices use it through LuCI's
attended sysupgrade, <code>owut</code>, <code>auc</code> or the Firmware Selector.</p>
<ul>
<li><a href="/docs">Reference of the API</a></li>
<li><a href="/json/v1/overview.json">Releases, branches and limits</a></li>
<li><a href="/api/v1/stats">The queue in figures</a></li>
<li><a href="/readyz?verbose">State of the server</a></li>
</ul>
<p><small>asu {__version__}</small></p>
</html>
"""


@router.head("/", include_in_schema=False)
@router.get("/")
async def index() -> HTMLResponse:
    """Say what this server is."""
    return HTMLResponse(PAGE)
