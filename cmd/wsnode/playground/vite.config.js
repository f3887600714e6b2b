import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

// The output is committed and embedded in the daemon: stable names, so that a change shows as a change of its file.
export default defineConfig({
  base: './',
  resolve: {
    alias: { '@wsnode/client': fileURLToPath(new URL('../../../clients/js/src/index.js', import.meta.url)) },
    // The client's sources lie outside this project; its peers are this project's.
    dedupe: ['yjs', 'y-websocket']
  },
  build: {
    outDir: 'dist',
    target: 'es2022',
    modulePreload: { polyfill: false },
    // The notices of the libraries that go along.
    license: { fileName: 'licenses.txt' },
    chunkSizeWarningLimit: 1000,
    rollupOptions: {
      output: {
        entryFileNames: 'assets/[name].js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]'
      }
    }
  },
  server: { proxy: { '/dev': 'http://127.0.0.1:8080' } }
})
