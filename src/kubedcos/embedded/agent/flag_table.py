"""The flags of Mesos' agent, with Mesos' defaults, and what the embedded agent makes of them.

Three groups: honoured; without any effect here (log files, Docker, profiling: a value changes
nothing that a task could notice); refused unless they have a value that changes nothing.
"""

from __future__ import annotations

from typing import Final

from kubedcos.embedded.flags import ANY, Flag

ISOLATORS: Final = {
    "posix/cpu": "",
    "posix/mem": "",
    "cgroups/cpu": "CPU shares, and a hard limit with --cgroups_enable_cfs",
    "cgroups/mem": "memory limit",
    "cgroups/all": "all of cgroups/*",
    "filesystem/posix": "",
    "filesystem/linux": "a mount namespace for each container",
}
"""Isolators that are honoured, and what they do."""

ISOLATORS_ON_DEMAND: Final = frozenset(
    {
        "posix/rlimits",
        "docker/runtime",
        "docker/volume",
        "appc/runtime",
        "network/cni",
        "volume/host_path",
        "volume/image",
        "volume/sandbox_path",
        "volume/secret",
        "volume/csi",
        "linux/capabilities",
        "linux/nnp",
        "linux/seccomp",
        "environment_secret",
        "gpu/nvidia",
    }
)
"""Isolators that only act when a task asks for their feature; such a task is refused."""

_HONOURED: Final = (
    Flag("acls", "json"),
    Flag("advertise_ip"),
    Flag("advertise_port", "int"),
    Flag("attributes"),
    Flag("authenticate_http_readonly", "bool", "false"),
    Flag("authenticate_http_readwrite", "bool", "false"),
    Flag("cgroups_destroy_timeout", "duration", "1mins"),
    Flag("cgroups_enable_cfs", "bool", "false"),
    Flag("cgroups_hierarchy", "path", "/sys/fs/cgroup"),
    Flag("cgroups_root", "text", "mesos"),
    Flag("credential", "json", confidential=True),
    Flag("default_role", "text", "*"),
    Flag("domain", "json"),
    Flag("executor_environment_variables", "json"),
    Flag("executor_registration_timeout", "duration", "1mins"),
    Flag("executor_reregistration_timeout", "duration", "2secs"),
    Flag("executor_shutdown_grace_period", "duration", "5secs"),
    Flag("fetcher_cache_dir", "path", "/tmp/mesos/fetch"),  # noqa: S108  Mesos' default
    Flag("fetcher_cache_size", "size", "2GB"),
    Flag("fetcher_stall_timeout", "duration", "1mins"),
    Flag("frameworks_home", "path", ""),
    Flag("gc_delay", "duration", "1weeks"),
    Flag("gc_disk_headroom", "number", "0.1"),
    Flag("disk_watch_interval", "duration", "1mins"),
    Flag("help", "bool", "false"),
    Flag("external_log_file", "path"),
    Flag("hostname"),
    Flag("hostname_lookup", "bool", "true"),
    Flag("http_command_executor", "bool", "false"),
    Flag("http_credentials", "json", confidential=True),
    Flag("ip"),
    Flag("ip_discovery_command"),
    Flag("isolation", "text", "posix/cpu,posix/mem"),
    Flag("launcher", "text"),
    Flag("log_dir", "path"),
    Flag("logging_level", "text", "INFO"),
    Flag("master", aliases=("m",)),
    Flag("max_completed_executors_per_framework", "int", "150"),
    Flag("port", "int", "5051"),
    Flag("quiet", "bool", "false"),
    Flag("reconfiguration_policy", "text", "equal"),
    Flag("recover", "text", "reconnect"),
    Flag("recovery_timeout", "duration", "15mins"),
    Flag("registration_backoff_factor", "duration", "1secs"),
    Flag("resources"),
    Flag("runtime_dir", "path", "/var/run/mesos"),
    Flag("switch_user", "bool", "true"),
    Flag("version", "bool", "false"),
    Flag("work_dir", "path"),
    Flag("zk_session_timeout", "duration", "10secs"),
)

_WITHOUT_EFFECT: Final = tuple(
    Flag(name, "text", default, harmless=ANY)
    for name, default in {
        "appc_simple_discovery_uri_prefix": "http://",
        "appc_store_dir": "/tmp/mesos/store/appc",  # noqa: S108
        "authenticatee": "crammd5",
        "authentication_backoff_factor": "1secs",
        "authentication_timeout_max": "1mins",
        "authentication_timeout_min": "5secs",
        "container_disk_watch_interval": "15secs",
        "container_logger": None,
        "default_container_dns": None,
        "default_container_info": None,
        "docker": "docker",
        "docker_config": None,
        "docker_ignore_runtime": "false",
        "docker_kill_orphans": "true",
        "docker_mesos_image": None,
        "docker_registry": "https://registry-1.docker.io",
        "docker_remove_delay": "6hrs",
        "docker_socket": "/var/run/docker.sock",
        "docker_stop_timeout": "0ns",
        "docker_store_dir": "/tmp/mesos/store/docker",  # noqa: S108
        "docker_volume_checkpoint_dir": "/var/run/mesos/isolators/docker/volume",
        "docker_volume_chown": "false",
        "gc_non_executor_container_sandboxes": "false",
        "hadoop_home": None,
        "host_path_volume_force_creation": None,
        "http_authenticators": "basic",
        "http_heartbeat_interval": "30secs",
        "image_gc_config": None,
        "image_provider": None,
        "image_providers": None,
        "image_provisioner_backend": None,
        "initialize_driver_logging": "true",
        "jwt_secret_key": None,
        "launcher_dir": "/usr/libexec/mesos",
        "logbufsecs": "0",
        "memory_profiling": "false",
        "network_cni_config_dir": None,
        "network_cni_metrics": "true",
        "network_cni_plugins_dir": None,
        "network_cni_root_dir_persist": "false",
        "nvidia_gpu_devices": None,
        "oversubscribed_resources_interval": "15secs",
        "perf_duration": "10secs",
        "perf_events": None,
        "perf_interval": "1mins",
        "qos_correction_interval_min": "0ns",
        "revocable_cpu_low_priority": "true",
        "sandbox_directory": "/mnt/mesos/sandbox",
        "secret_resolver": None,
        "strict": "true",
        "systemd_enable_support": "true",
        "systemd_runtime_directory": "/run/systemd/system",
        "volume_gid_range": None,
    }.items()
)

_REFUSED: Final = (
    Flag("authenticate_http_executors", "bool", "false", harmless=("false",)),
    Flag("authorizer", "text", "local", harmless=("local",)),
    Flag("cgroups_cpu_enable_pids_and_tids_count", "bool", "false", harmless=("false",)),
    Flag("cgroups_limit_swap", "bool", "false", harmless=("false",)),
    Flag("cgroups_net_cls_primary_handle", harmless=()),
    Flag("cgroups_net_cls_secondary_handles", harmless=()),
    Flag(
        "containerizers",
        "text",
        "mesos",
        harmless=("mesos", "mesos,docker", "docker,mesos"),
        why="there is only the Mesos containerizer; a task with a Docker container is refused",
    ),
    Flag("csi_plugin_config_dir", "path", harmless=()),
    Flag("disallow_sharing_agent_ipc_namespace", "bool", "false", harmless=("false",)),
    Flag("disallow_sharing_agent_pid_namespace", "bool", "false", harmless=("false",)),
    Flag("disk_profile_adaptor", harmless=()),
    Flag("domain_socket_location", "path", harmless=ANY),
    Flag("effective_capabilities", harmless=()),
    Flag("bounding_capabilities", harmless=()),
    Flag("enforce_container_disk_quota", "bool", "false", harmless=("false",)),
    Flag("firewall_rules", harmless=()),
    Flag("hooks", harmless=()),
    Flag("http_executor_domain_sockets", "bool", "false", harmless=("false", "true")),
    Flag("modules", harmless=()),
    Flag("modules_dir", "path", harmless=()),
    Flag("qos_controller", harmless=()),
    Flag("resource_estimator", harmless=()),
    Flag("resource_provider_config_dir", "path", harmless=()),
    Flag("seccomp_config_dir", "path", harmless=()),
    Flag("seccomp_profile_name", harmless=()),
    Flag("xfs_kill_containers", "bool", "false", harmless=("false",)),
    Flag("xfs_project_range", "text", harmless=ANY),
)

AGENT_FLAGS: Final = (*_HONOURED, *_WITHOUT_EFFECT, *_REFUSED)
"""All flags of Mesos' agent."""
