/** The package: libvirt's block-job API, and `open`, which finds a driver and a backend for a URI. */
export * from '../src/index.ts';
export { type DriverFactory, type OpenOptions, open, openReadOnly } from './open.ts';
