/**
 * The human monitor's commands by name, as `help` and `help info` of QEMU 7.2 and 10.0 list them: what is among them and not
 * simulated is said to be so, what is not is unknown.
 */

const COMMANDS = new Set(
  (
    'announce_self balloon block_job_cancel block_job_complete block_job_pause block_job_resume ' +
    'block_job_set_speed block_resize block_set_io_throttle block_stream boot_set c calc_dirty_rate ' +
    'cancel_vcpu_dirty_limit change chardev-add chardev-change chardev-remove chardev-send-break ' +
    'client_migrate_info closefd commit cont cpu delvm device_add device_del drive_backup drive_del ' +
    'drive_mirror dump-guest-memory dumpdtb eject exit_preconfig expire_password gdbserver getfd gpa2hpa ' +
    'gpa2hva gva2gpa hostfwd_add hostfwd_remove i info loadvm log logfile mce memsave migrate ' +
    'migrate_cancel migrate_continue migrate_incoming migrate_pause migrate_recover ' +
    'migrate_set_capability migrate_set_parameter migrate_start_postcopy mouse_button mouse_move ' +
    'mouse_set nbd_server_add nbd_server_remove nbd_server_start nbd_server_stop netdev_add netdev_del ' +
    'nmi o object_add object_del one-insn-per-tb p pcie_aer_inject_error pmemsave print q qemu-io qom-get ' +
    'qom-list qom-set quit replay_break replay_delete_break replay_seek ringbuf_read ringbuf_write s ' +
    'savevm screendump sendkey set_link set_password set_vcpu_dirty_limit singlestep snapshot_blkdev ' +
    'snapshot_blkdev_internal snapshot_delete_blkdev_internal stop stopcapture sum sync-profile ' +
    'system_powerdown system_reset system_wakeup trace-event watchdog_action wavcapture x ' +
    'x_colo_lost_heartbeat xen-event-inject xen-event-list xp '
  ).split(' '),
);

const INFO = new Set(
  (
    'balloon block block-jobs blockstats capture chardev cpus cryptodev dirty_rate dump history ' +
    'hotpluggable-cpus iothreads irq jit kvm lapic mem memdev memory-devices memory_size_summary mice ' +
    'migrate migrate_capabilities migrate_parameters mtree name network numa opcount pci pic profile qdm ' +
    'qom-tree qtree ramblock rdma registers replay rocker rocker-of-dpa-flows rocker-of-dpa-groups ' +
    'rocker-ports roms sev sgx snapshots spice stats status sync-profile tlb tpm trace-events usb usbhost ' +
    'usernet uuid vcpu_dirty_limit version virtio virtio-queue-element virtio-queue-status virtio-status ' +
    'virtio-vhost-queue-status vm-generation-id vnc '
  ).split(' '),
);

/** What a command is answered that is not simulated. */
export function refuseHmp(name: string, words: readonly string[]): string {
  const [what] = words;
  const called = name === 'info' && what !== undefined ? `info ${what}` : name;
  const exists = name === 'info' ? what !== undefined && INFO.has(what) : COMMANDS.has(name);
  return exists
    ? `Error: '${called}' is not supported by the simulation\r\n`
    : `unknown command: '${called}'\r\n`;
}
