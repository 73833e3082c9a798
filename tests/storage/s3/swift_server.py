"""OpenStack Swift with its S3 API on a loopback port, all servers in this process: `swift_server.py DIRECTORY`.

Run by the Python of the environment that `install_server.sh` makes; nothing of this project is imported. A real S3
server: signatures (v2 and v4), content hashes, multipart uploads. Account "test", user "tester"; the keys come from the
environment. Prints "ready" once it answers.
"""

import os
import sys
from pathlib import Path

root = Path(sys.argv[1]).resolve()
ACCESS, SECRET = os.environ["SWIFT_ACCESS_KEY"], os.environ["SWIFT_SECRET_KEY"]
(root / "devices" / "sda1").mkdir(parents=True, exist_ok=True)
(root / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = test\n[storage-policy:0]\nname = one\n")

from swift.common import utils  # noqa: E402

utils.SWIFT_CONF_FILE = str(root / "swift.conf")
utils.validate_hash_conf()

import eventlet  # noqa: E402

# threads are left alone: Swift's pools of real threads would be green ones, and deadlock
eventlet.hubs.use_hub(utils.get_hub())
eventlet.patcher.monkey_patch(all=False, socket=True, select=True, thread=True)

import eventlet.wsgi  # noqa: E402
from swift.common import storage_policy  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import SwiftHttpProtocol, loadapp  # noqa: E402

storage_policy.reload_storage_policies()

BACKEND = """[DEFAULT]
devices = {root}/devices
mount_check = false
swift_dir = {root}
workers = 0
fallocate_reserve = 0
log_level = ERROR
log_name = {name}
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
allow_versions = true
disk_chunk_size = 1048576
"""
PROXY = f"""[DEFAULT]
swift_dir = {root}
log_level = ERROR
log_name = proxy
[pipeline:main]
pipeline = catch_errors listing_formats s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_{ACCESS.partition(":")[2]} = {SECRET} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
"""


def serve(socket, config):
    app = loadapp(str(config), global_conf={"log_level": "ERROR"})
    eventlet.spawn(
        eventlet.wsgi.server, socket, app, log_output=False, debug=False, protocol=SwiftHttpProtocol, max_size=256
    )


for name in ("account", "container", "object"):
    listener = eventlet.listen(("127.0.0.1", 0))
    ring = RingBuilder(4, 1, 0)
    place = {"id": 0, "region": 0, "zone": 0, "weight": 1.0, "ip": "127.0.0.1", "device": "sda1"}
    ring.add_dev({**place, "port": listener.getsockname()[1]})
    ring.rebalance()
    ring.get_ring().save(str(root / f"{name}.ring.gz"))
    config = root / f"{name}.conf"
    config.write_text(BACKEND.format(root=root, name=name))
    serve(listener, config)
(root / "proxy.conf").write_text(PROXY)
listener = eventlet.listen(("127.0.0.1", 0))
serve(listener, root / "proxy.conf")
print(f"ready at port {listener.getsockname()[1]}", flush=True)
while True:
    eventlet.sleep(3600)
