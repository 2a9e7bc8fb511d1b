/** The page's start: mocks first, then the application. */
import { copyDisk } from './application.ts';
import { startMocks, URL } from './mocks.ts';

const steps = document.querySelector('#steps');
const show = (text: string): void => {
  const line = document.createElement('li');
  line.textContent = text;
  steps?.append(line);
};

try {
  await startMocks();
  document.title = await copyDisk(URL, show);
} catch (error) {
  document.title = `failed: ${error instanceof Error ? error.message : error}`;
}
